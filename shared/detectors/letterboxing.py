"""Pictures of any size in tensors of few sizes, and boxes back to the pictures.

A detector is trained on pictures whose shorter side has a certain length. Each size of tensor costs onnxruntime memory
and time to plan, so a scaled picture is laid into the smallest of a few buckets, at their upper left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.detectors.detections import Boxes

STRIDE: Final = 32
"""Sides of buckets are multiples of it: the deepest features of a detector have a 32nd of the picture's sides."""


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Height and width in pixels."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Buckets:
    """How large a detector wants to see a picture.

    A picture is scaled until its shorter side is `short_side`, or less where the longer would exceed `long_side`.

    Attributes:
        short_side: in pixels, of the scaled picture.
        long_side: most pixels of its longer side.
        sizes: of the tensors, by rising area.
        fill: RGB value around the picture.

    Raises:
        ValueError: a side is no multiple of 32, or some picture would fit into no bucket.
    """

    short_side: int
    long_side: int
    sizes: tuple[Size, ...]
    fill: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if not 0 < self.short_side <= self.long_side:
            raise ValueError("the short side is positive and at most the long side")
        if any(side < STRIDE or side % STRIDE for size in self.sizes for side in (size.height, size.width)):
            raise ValueError(f"sides of buckets are multiples of {STRIDE}")
        for largest in (Size(self.short_side, self.long_side), Size(self.long_side, self.short_side)):
            if not any(_fits(largest, size) for size in self.sizes):
                raise ValueError(f"a picture of {largest.height} x {largest.width} fits into no bucket")

    @classmethod
    def of_sides(cls, short_side: int, long_side: int, *, fill: tuple[int, int, int] = (0, 0, 0)) -> Buckets:
        """Seven sizes or fewer: a square, two steps and the longest, lying and standing."""
        short, long = _round_up(short_side), _round_up(long_side)
        sides = {_round_up(short + round(step * (long - short) / 3)) for step in range(4)}
        sizes = {Size(short, side) for side in sides} | {Size(side, short) for side in sides}
        return cls(short_side, long_side, tuple(sorted(sizes, key=_by_area)), fill)

    def scaled(self, size: Size) -> Size:
        """The size that a picture of `size` gets; sides of at least one pixel."""
        shorter, longer = sorted((size.height, size.width))
        factor = min(self.short_side / shorter, self.long_side / longer)
        height, width = (max(1, round(side * factor)) for side in (size.height, size.width))
        return Size(height, width)

    def choose(self, scaled: Size) -> Size:
        """The smallest bucket into which a scaled picture fits."""
        return min((size for size in self.sizes if _fits(scaled, size)), key=_by_area)


@dataclass(frozen=True, slots=True, eq=False)
class Letterboxed:
    """A picture in its bucket.

    Attributes:
        pixels: uint8 (height, width, 3) of the bucket.
        posted: size of the picture as it was posted.
        scaled: size of it in the bucket, at the upper left.
    """

    pixels: NDArray[np.uint8]
    posted: Size
    scaled: Size

    def to_posted(self, boxes: Boxes) -> Boxes:
        """Boxes in pixels of the bucket to pixels of the posted picture, cut off at its edges; float32 (N, 4)."""
        limits = np.array([self.posted.width, self.posted.height] * 2, np.float32)
        clipped: Boxes = np.clip(boxes / self._factors(), np.float32(0), limits)
        return clipped

    def to_bucket(self, boxes: Boxes) -> Boxes:
        """Boxes in pixels of the posted picture to pixels of the bucket; float32 (N, 4)."""
        return boxes * self._factors()

    def _factors(self) -> NDArray[np.float32]:
        # Of each axis its own: sides are whole pixels, so the two differ a little, and much for a picture of one row.
        factors = [self.scaled.width / self.posted.width, self.scaled.height / self.posted.height]
        return np.array(factors * 2, np.float32)


def letterbox(picture: NDArray[np.uint8], buckets: Buckets) -> Letterboxed:
    """Scale a picture, bilinear and smoothed where it gets smaller, and lay it into its bucket.

    Args:
        picture: uint8 RGB (height, width, 3), of one pixel or more.
        buckets: of the detector.
    """
    posted = Size(*picture.shape[:2])
    scaled = buckets.scaled(posted)
    bucket = buckets.choose(scaled)
    pixels = np.empty((bucket.height, bucket.width, 3), np.uint8)
    pixels[:] = np.array(buckets.fill, np.uint8)
    pixels[: scaled.height, : scaled.width] = _resize(picture, scaled)
    return Letterboxed(pixels, posted, scaled)


def _resize(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    if picture.shape[:2] == (size.height, size.width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((size.width, size.height), Image.Resampling.BILINEAR), dtype=np.uint8)


def _fits(size: Size, bucket: Size) -> bool:
    return size.height <= bucket.height and size.width <= bucket.width


def _by_area(size: Size) -> tuple[int, Size]:
    return size.height * size.width, size


def _round_up(side: int) -> int:
    return -(-side // STRIDE) * STRIDE
