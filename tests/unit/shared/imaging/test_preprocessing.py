"""What a network sees of a picture, against interpolation by its formula and against Pillow's usual recipe."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from shared.imaging.preprocessing import Preprocessing, preprocessing_of
from tests.support.capability import png

LIMIT = 10**7
CENTRE = Preprocessing(region="centre", share=0.875, filter="bicubic")


def noise(height: int, width: int, *, strength: int = 20) -> NDArray[np.uint8]:
    """A smooth picture with some noise, far enough from black and white that nothing is cut off there."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(70, 180, (9, 9, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return (smooth + random.integers(-strength, strength + 1, (height, width, 3))).astype(np.uint8)


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys 1981, a = -0.5."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def along(values: NDArray[np.float64], start: float, end: float, count: int) -> NDArray[np.float64]:
    """Resample the first axis between two edges: a kernel as wide as the step, cut off at the borders."""
    step = (end - start) / count
    widen = max(step, 1.0)
    rows = np.arange(len(values), dtype=np.float64) + 0.5
    found = []
    for index in range(count):
        weight = cubic(np.asarray((rows - (start + (index + 0.5) * step)) / widen, np.float64))
        found.append(np.tensordot(weight / weight.sum(), values, 1))
    return np.array(found)


@pytest.mark.parametrize("size", [(400, 300), (300, 601), (224, 224), (100, 90), (1000, 1500)])
def test_the_middle_by_the_formula(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    rows, columns = size
    side = min(size) * 0.875
    top, left = (rows - side) / 2, (columns - side) / 2
    right = along(pixels.astype(np.float64), top, top + side, 224)
    right = along(right.transpose(1, 0, 2), left, left + side, 224).transpose(1, 0, 2).clip(0, 255)
    found = CENTRE.read(png(pixels), height=224, width=224, pixel_limit=LIMIT, pointer="/body/file")
    assert found.dtype == np.float32
    assert found.shape == (3, 224, 224)
    # Pillow rounds to whole levels after each axis, and its kernel ends at whole pixels.
    np.testing.assert_allclose(found.transpose(1, 2, 0) * 255, right, atol=1.5)
    assert np.abs(found.transpose(1, 2, 0) * 255 - right).mean() < 0.4


@pytest.mark.parametrize("size", [(480, 640), (1000, 700)])
def test_it_is_the_usual_recipe(size: tuple[int, int]) -> None:
    """Scale the shorter side to 256 and cut out 224, as papers write it: the same but for where pixels are rounded."""
    pixels = noise(*size, strength=0)
    image = Image.fromarray(pixels)
    factor = 256 / min(size)
    scaled = image.resize((round(size[1] * factor), round(size[0] * factor)), Image.Resampling.BICUBIC)
    left, top = (scaled.width - 224) // 2, (scaled.height - 224) // 2
    right = np.asarray(scaled.crop((left, top, left + 224, top + 224)), np.float64)
    found = CENTRE.apply(pixels, height=224, width=224)
    assert np.abs(found - right).max() < 4
    assert np.abs(found - right).mean() < 0.7


def test_every_pixel_counts() -> None:
    """Stripes that a sampler would take for white or black are grey (Quiring et al. 2020)."""
    stripes = np.zeros((1792, 1792, 3), np.uint8)
    stripes[::8] = 255
    found = Preprocessing(region="centre", filter="bicubic").apply(stripes, height=224, width=224)
    inside = found[4:-4]
    assert np.abs(inside - 255 / 8).max() < 2


@pytest.mark.parametrize("kind", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("region", ["whole", "centre"])
def test_sixteen_bits_and_grey(kind: str, region: str) -> None:
    wanted = preprocessing_of({"preprocessing": {"filter": kind, "region": region}})
    grey = np.asarray(Image.fromarray(noise(90, 70)).convert("L"))
    stream = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(stream, format="PNG")
    deep, plain = (
        wanted.read(data, height=32, width=48, pixel_limit=LIMIT, pointer="/body/file")
        for data in (stream.getvalue(), png(Image.fromarray(grey)))
    )
    np.testing.assert_allclose(deep, plain, atol=1.1 / 255)
    np.testing.assert_allclose(deep[0], deep[1], atol=1e-6)
    assert deep.min() >= 0
    assert deep.max() <= 1


def test_the_region_has_the_shape_of_the_input() -> None:
    """A bright frame around a dark middle of 40 x 20 is not seen by a network of 2:1."""
    pixels = np.full((40, 60, 3), 255, np.uint8)
    pixels[0:40, 20:40] = 0
    found = Preprocessing(region="centre", filter="area").apply(pixels, height=40, width=20)
    assert found.max() == 0
    half = Preprocessing(region="centre", share=0.5, filter="bilinear").apply(pixels, height=40, width=20)
    assert half.max() == 0


def test_nothing_said_is_the_whole_picture() -> None:
    assert preprocessing_of({"mean": [0, 0, 0]}) == Preprocessing(region="whole", filter="area")


@pytest.mark.parametrize("wrong", [{"region": "left"}, {"share": 0}, {"share": 1.5}, {"size": 3}, "centre"])
def test_what_is_not_known_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        preprocessing_of({"preprocessing": wrong})
