"""The released graph beside a network in torch that takes the file's weights, at sizes the published one cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from services.perception.detection.training.nanodet.decoding import REGION_LIMIT
from services.perception.detection.training.nanodet.graph import build, normalise
from services.perception.detection.training.nanodet.published import Convolution
from services.perception.detection.training.nanodet.reference import decode
from shared.runtime.models.sessions import OnnxModel

SIZES = ((64, 96), (256, 416), (416, 416))


@pytest.fixture(scope="module")
def layers(released: Path) -> list[Convolution]:
    """The published convolutions, out of the released file."""
    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(released / "model.onnx").graph.initializer}
    count = sum(name.endswith("weight_half") for name in stored)
    found = []
    for number in range(count):
        kernel = stored[f"convolution.{number}.weight_half"]
        assert kernel.dtype == np.float16
        kernel = kernel[:, ::-1] if number == 0 else kernel
        bias = stored[f"convolution.{number}.bias_half"]
        found.append(Convolution(kernel.astype(np.float32), bias.astype(np.float32)))
    return found


class Network:
    """NanoDet-g in torch, with the resizing that its author's code uses."""

    def __init__(self, layers: list[Convolution]) -> None:
        self.layers = layers

    def conv(self, source: Tensor, number: int, stride: int = 1, *, active: bool = True) -> Tensor:
        kernel, bias = (
            torch.from_numpy(np.ascontiguousarray(getattr(self.layers[number], name))) for name in ("kernel", "bias")
        )
        found = functional.conv2d(source, kernel, bias, stride=stride, padding=kernel.shape[2] // 2)
        return functional.leaky_relu(found, 0.1) if active else found

    def stage(self, source: Tensor, numbers: list[int], stride: int) -> Tensor:
        first, *inner, last = numbers
        begin = found = self.conv(source, first, stride)
        for one, two in zip(inner[::2], inner[1::2], strict=True):
            before = self.conv(found, one)
            found = torch.cat([self.conv(before, two), before], dim=1)
        return torch.cat([self.conv(found, last), begin], dim=1)

    @torch.no_grad()
    def heads(self, normalised: NDArray[np.float32]) -> NDArray[np.float32]:
        found = functional.max_pool2d(self.conv(torch.from_numpy(normalised), 0, 2), 3, 2, 1)
        found = self.stage(found, [1, 2, 3, 4], 1)
        c3 = self.stage(found, [5, 6, 7, 8, 9, 10], 2)
        c4 = self.stage(c3, [11, 12, 13, 14, 15, 16], 2)
        c5 = self.stage(c4, [17, 18, 19, 20, 21, 22, 23, 24], 2)
        p3, p4, p5 = (self.conv(one, 25 + level, active=False) for level, one in enumerate((c3, c4, c5)))
        p4 = p4 + scaled(p5, 2)
        p3 = p3 + scaled(p4, 2)
        p4 = p4 + scaled(p3, 0.5)
        p5 = p5 + scaled(p4, 0.5)
        rows = [
            self.conv(self.conv(one, 28 + 2 * level), 29 + 2 * level, active=False)[0].flatten(1).T
            for level, one in enumerate((p3, p4, p5))
        ]
        found_rows: NDArray[np.float32] = torch.cat(rows).numpy()
        return found_rows


def scaled(source: Tensor, factor: float) -> Tensor:
    return functional.interpolate(source, scale_factor=factor, mode="bilinear", align_corners=False)


def scene(height: int, width: int) -> NDArray[np.float32]:
    """A drawn picture in [0, 1], with something on it at every scale."""
    image = Image.new("RGB", (width, height), (110, 130, 150))
    pen, random = ImageDraw.Draw(image), np.random.default_rng(height)
    for size in (6, 12, 24, 48):
        for _ in range(6):
            x, y = int(random.integers(0, width)), int(random.integers(0, height))
            pen.ellipse((x, y, x + size, y + size), fill=tuple(int(one) for one in random.integers(0, 256, 3)))
    return np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255)


def test_the_file_is_what_the_writer_makes_of_its_weights(released: Path, layers: list[Convolution]) -> None:
    assert len(layers) == 34
    assert sum(one.kernel.size + one.bias.size for one in layers) == 3_786_068
    assert build(layers).SerializeToString() == (released / "model.onnx").read_bytes()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_boxes_and_scores_are_those_of_the_network(
    detector: OnnxModel, layers: list[Convolution], height: int, width: int
) -> None:
    image = scene(height, width)
    boxes, scores = detector.run({"image": image})
    heads = Network(layers).heads(normalise(image))
    right_boxes = decode(heads[:, 80:], height=height, width=width)
    right_scores = 1 / (1 + np.exp(-heads[:, :80]))
    count = min(REGION_LIMIT, len(heads))
    assert (boxes.shape, scores.shape) == ((count, 4), (count, 80))
    assert boxes.dtype == scores.dtype == np.float32
    best = np.sort(right_scores.max(axis=1))[::-1][:count]
    np.testing.assert_allclose(scores.max(axis=1), best, atol=1e-5)
    # Regions of nearly the same score may stand the other way round, so each is looked for.
    for place in (0, 1, 5, 20, count - 1):
        apart = np.abs(right_scores - scores[place]).max(axis=1) + np.abs(right_boxes - boxes[place]).max(axis=1)
        assert apart.min() < 2e-3


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_boxes_lie_within_the_picture_and_scores_between_0_and_1(detector: OnnxModel, height: int, width: int) -> None:
    image = np.random.default_rng(1).random((1, 3, height, width), dtype=np.float32)
    boxes, scores = detector.run({"image": image})
    assert boxes.min() >= 0
    assert (boxes.max(axis=0) <= [width, height, width, height]).all()
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    # In the last digit, the sigmoid of a smaller logit may be larger.
    assert (np.diff(scores.max(axis=1)) <= 1e-6).all(), "the surest first"


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_nothing_is_found_on_an_empty_picture(detector: OnnxModel, level: float) -> None:
    _, scores = detector.run({"image": np.full((1, 3, 416, 416), level, np.float32)})
    assert scores.max() < 0.5


def test_a_distribution_is_decoded_to_its_mean() -> None:
    edges = np.full((84, 44), -50.0, np.float32)
    edges.reshape(-1, 4, 11)[:, :, 0] = 50.0
    cell = 64 + 5  # stride 16, second row, second column of 4
    edges[cell].reshape(4, 11)[[0, 1, 2, 3], [1, 0, 10, 2]] = 50.0
    edges[cell].reshape(4, 11)[[0, 2, 3], 0] = -50.0
    edges[cell].reshape(4, 11)[0, 2] = 50.0  # as likely as 1
    found = decode(edges, height=64, width=64)
    np.testing.assert_allclose(found[cell], [24 - 1.5 * 16, 24, 64, 24 + 2 * 16], atol=1e-6)
    np.testing.assert_allclose(found[9], [12, 12, 12, 12], atol=1e-6)
    np.testing.assert_allclose(found[-1], [48, 48, 48, 48], atol=1e-6)
