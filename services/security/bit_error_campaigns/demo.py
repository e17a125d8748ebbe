"""Classifiers and labelled pictures to try campaigns with, made here and the same each time.

The pictures of signs are drawn, no photographs; the classifier of shapes is a small network whose two layers were set
by least squares on drawn shapes, which takes a moment and no torch.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shared.storage.zips import pack_zip

SHAPES: Final = ("disc", "square", "triangle", "cross")
SIDE: Final = 16

_CHANNELS: Final = 24
_TRAINED_ON: Final = 1200
_SEED: Final = 7

_STOP, _PRIORITY, _YIELD, _NO_ENTRY = 14, 12, 13, 17
"""Numbers of the German signs that are drawn, as GTSRB counts them."""


def labelled_signs() -> bytes:
    """ZIP of drawn traffic signs in folders of their classes' numbers: 24 PNG of 48 x 48 pixels."""
    random = np.random.default_rng(_SEED)
    files = {}
    for number in range(6):
        for label in (_STOP, _PRIORITY, _YIELD, _NO_ENTRY):
            background = tuple(int(value) for value in random.integers(70, 170, 3))
            shift = random.uniform(-2, 2, 2)
            files[f"{label}/{number}.png"] = _png(_sign(label, background, shift))
    return pack_zip(files.items(), compressed=False)


def labelled_shapes() -> bytes:
    """ZIP of drawn shapes with a table of labels: 120 grey PNG of 16 x 16 pixels, and `labels.csv`."""
    random = np.random.default_rng(_SEED + 1)
    files, rows = {}, ["file,label"]
    for number, (picture, label) in enumerate(_shapes(random, 120)):
        name = f"pictures/{number:03d}.png"
        files[name] = _png(Image.fromarray(picture))
        rows.append(f"{name},{label}")
    return pack_zip((files | {"labels.csv": "\n".join(rows).encode()}).items(), compressed=False)


@lru_cache(maxsize=1)
def shape_classifier() -> bytes:
    """An ONNX file: `pictures` float32 (batch, 1, 16, 16) in [0, 1], `logits` float32 (batch, 4).

    A convolution with drawn kernels, ReLU, pooling over quarters, and a linear layer.
    """
    import onnx  # for whoever asks for this file; no service loads it
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(_SEED)
    kernels = random.normal(0, 1, (_CHANNELS, 1, 5, 5)).astype(np.float32)
    kernels -= kernels.mean(axis=(2, 3), keepdims=True)
    weight, bias = _fitted(kernels, random)
    constants = {"kernels": kernels, "weight": weight, "bias": bias}
    nodes = [
        helper.make_node("Conv", ["pictures", "kernels"], ["edges"], name="edges", pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["edges"], ["rectified"]),
        helper.make_node(
            "AveragePool", ["rectified"], ["pooled"], kernel_shape=[SIDE // 4] * 2, strides=[SIDE // 4] * 2
        ),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(SHAPES)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _fitted(
    kernels: NDArray[np.float32], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The linear layer, by ridge regression of one-hot labels on the features of drawn shapes."""
    drawn = list(_shapes(random, _TRAINED_ON))
    pictures = np.stack([picture for picture, _ in drawn]).astype(np.float32) / 255
    padded = np.pad(pictures, ((0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    maps = np.maximum(np.einsum("nhwij,cij->nchw", windows, kernels[:, 0], optimize=True), 0)
    cell = SIDE // 4
    pooled = maps.reshape(len(maps), _CHANNELS, 4, cell, 4, cell).mean(axis=(3, 5)).reshape(len(maps), -1)
    features = np.hstack([pooled, np.ones((len(pooled), 1))])
    targets = 8 * np.eye(len(SHAPES))[[label for _, label in drawn]] - 2
    solved = np.linalg.solve(features.T @ features + 0.3 * np.eye(features.shape[1]), features.T @ targets)
    return solved[:-1].astype(np.float32), solved[-1].astype(np.float32)


def _shapes(random: np.random.Generator, count: int) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Grey pictures, uint8 (16, 16), and the numbers of their shapes in `SHAPES`."""
    for number in range(count):
        label = number % len(SHAPES)
        image = Image.new("L", (8 * SIDE, 8 * SIDE), int(random.integers(0, 60)))
        x, y = random.uniform(0.42, 0.58, 2) * 8 * SIDE
        radius = random.uniform(0.26, 0.38) * 8 * SIDE
        _draw(ImageDraw.Draw(image), SHAPES[label], float(x), float(y), float(radius), int(random.integers(160, 255)))
        picture = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
        noisy = picture + random.normal(0, 12, picture.shape)
        yield noisy.clip(0, 255).astype(np.uint8), label


def _draw(pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, grey: int) -> None:
    match shape:
        case "disc":
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=grey)
        case "square":
            side = 0.86 * radius
            pen.rectangle((x - side, y - side, x + side, y + side), fill=grey)
        case "triangle":
            pen.regular_polygon((x, y, radius), 3, fill=grey)
        case _:
            width = 0.3 * radius
            pen.rectangle((x - radius, y - width, x + radius, y + width), fill=grey)
            pen.rectangle((x - width, y - radius, x + width, y + radius), fill=grey)


def _sign(label: int, background: tuple[int, ...], shift: NDArray[np.float64]) -> Image.Image:
    side = 192
    image = Image.new("RGB", (side, side), background)
    pen, middle = ImageDraw.Draw(image), (side / 2 + 4 * shift[0], side / 2 + 4 * shift[1])
    white, red, yellow = (236, 236, 236), (178, 26, 36), (240, 190, 30)
    match label:
        case 14:
            pen.regular_polygon((*middle, 0.44 * side), 8, rotation=22, fill=white)
            pen.regular_polygon((*middle, 0.41 * side), 8, rotation=22, fill=red)
            font = ImageFont.load_default(size=0.25 * side)
            pen.text(middle, "STOP", fill=white, font=font, anchor="mm", stroke_width=2, stroke_fill=white)
        case 12:
            pen.regular_polygon((*middle, 0.46 * side), 4, rotation=45, fill=white)
            pen.regular_polygon((*middle, 0.33 * side), 4, rotation=45, fill=yellow)
        case 13:
            pen.regular_polygon((*middle, 0.46 * side), 3, rotation=180, fill=red)
            pen.regular_polygon((*middle, 0.30 * side), 3, rotation=180, fill=white)
        case _:
            pen.regular_polygon((*middle, 0.42 * side), 64, fill=red)
            x, y = middle
            pen.rectangle((x - 0.29 * side, y - 0.07 * side, x + 0.29 * side, y + 0.07 * side), fill=white)
    return image.resize((48, 48), Image.Resampling.LANCZOS)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def demo_files() -> dict[str, bytes]:
    """The files by the names that the page of this capability uses."""
    return {
        "labelled-signs.zip": labelled_signs(),
        "labelled-shapes.zip": labelled_shapes(),
        "shapes.onnx": shape_classifier(),
    }


def main(folder: Path) -> None:
    """Write them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in demo_files().items():
        (folder / name).write_bytes(content)
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
