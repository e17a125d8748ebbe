"""What a film is here, and how it becomes what the network sees: training and serving prepare films by one function.

A film lies on its own pixel grid. The network has a grid of fixed size: the film is scaled to fit into it, and lies in
its middle between black bars. Maps of the network come back to the film's grid by the inverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.imaging.signatures import MediaType

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Pixels = NDArray[np.float32]

PREPROCESSING: Final = "films-1"
"""Version of `prepare_film`. A model's card names the one that its films were prepared by."""

DARK_PERCENT: Final = 0.5
BRIGHT_PERCENT: Final = 99.5
"""Percentiles of a film that become 0 and 1. Its extremes would do that for one hot marker or implant (paper sheet,
section 8, trap 9)."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A film as it is shown.

    Attributes:
        pixels: float32 (h, w) in [0, 1], bones white, on its own pixel grid.
        media_type: what it came as.
        valid: (h, w), False where a pixel is padding; None where none is.
        aspect: height of a pixel over its width.
        view: ViewPosition that its file states, such as PA or AP.
        modality: that its file states.
        photometric: MONOCHROME1 or MONOCHROME2, where it came as DICOM.
        source: its data set without pixels, where it came as DICOM, for objects that refer to it.
    """

    pixels: Pixels
    media_type: MediaType
    valid: NDArray[np.bool_] | None = None
    aspect: float = 1.0
    view: str | None = None
    modality: str | None = None
    photometric: str | None = None
    source: Dataset | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.pixels.shape
        return rows, columns

    def prepare(self, size: tuple[int, int]) -> Prepared:
        """The film as a network of this height and width sees it."""
        return prepare_film(self.pixels, size, valid=self.valid, aspect=self.aspect)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A film as the network sees it.

    Attributes:
        array: float32 (H, W) in [0, 1], the size of the network.
        film_shape: rows and columns of the film.
        top: first row of `array` that shows the film; what is above is black.
        left: first column of it.
        height: rows of `array` that show the film.
        width: columns of it.
    """

    array: Pixels
    film_shape: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    def to_film_grid(self, values: NDArray[Any], *, density: bool = True) -> Pixels:
        """A map of the network on the film's pixel grid: what lies on the bars is cut off, the rest is scaled back.

        Args:
            values: (H, W), or coarser over the same field, as features of the network are.
            density: whether it is a density, whose values sum to 1. They do again afterwards; what lay on the bars is
                shared out. Values of any other map are interpolated only.

        Returns:
            float32 (rows, columns) of the film.

        Raises:
            ValueError: a density that is negative, not finite, or has nothing on the film.
        """
        field = np.asarray(values, np.float32)
        if field.shape != self.array.shape:
            field = _interpolate(field, *self.array.shape)
        inside = field[self.top : self.top + self.height, self.left : self.left + self.width]
        found = _interpolate(inside, *self.film_shape)
        return _normalise(found) if density else found

    def to_network_grid(self, values: NDArray[Any], *, density: bool = True) -> Pixels:
        """A map on the film's grid as the network would give it, for targets of training: zero on the bars.

        Args:
            values: (rows, columns) of the film.
            density: as for `to_film_grid`.

        Returns:
            float32 (H, W).
        """
        field = np.zeros(self.array.shape, np.float32)
        inside = resize_by_area(np.asarray(values, np.float32), self.height, self.width)
        field[self.top : self.top + self.height, self.left : self.left + self.width] = inside
        return _normalise(field) if density else field


def prepare_film(
    pixels: Pixels, size: tuple[int, int], *, valid: NDArray[np.bool_] | None = None, aspect: float = 1.0
) -> Prepared:
    """A film as the network sees it: spread over the grey scale, scaled to fit, in the middle between black bars.

    Args:
        pixels: float32 (h, w) in [0, 1], bones white, on the film's own grid.
        size: height and width of the network, in pixels.
        valid: (h, w), False where a pixel is padding, which is shown black and says nothing of the film's exposure.
        aspect: height of a pixel over its width.

    Raises:
        ValueError: the film is no such array, or `aspect` is not positive.
    """
    if pixels.ndim != 2 or pixels.size == 0 or not (math.isfinite(aspect) and aspect > 0):
        raise ValueError("a film is two-dimensional and not empty, and the aspect of its pixels positive")
    rows, columns = pixels.shape
    scale = min(size[0] / (rows * aspect), size[1] / columns)
    height = min(size[0], max(1, round(rows * aspect * scale)))
    width = min(size[1], max(1, round(columns * scale)))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    array = np.zeros(size, np.float32)
    array[top : top + height, left : left + width] = resize_by_area(spread_greys(pixels, valid), height, width)
    return Prepared(np.clip(array, 0, 1), (rows, columns), top, left, height, width)


def spread_greys(pixels: Pixels, valid: NDArray[np.bool_] | None = None) -> Pixels:
    """Grey values with the 0.5th percentile at 0 and the 99.5th at 1, clipped; a film of one value becomes black.

    Args:
        pixels: float32 (h, w).
        valid: (h, w), False where a pixel is padding, which becomes 0 and is left out of the percentiles.
    """
    counted = pixels if valid is None else pixels[valid]
    if counted.size == 0:
        return np.zeros(pixels.shape, np.float32)
    dark, bright = np.percentile(counted, (DARK_PERCENT, BRIGHT_PERCENT))
    if not bright > dark:
        return np.zeros(pixels.shape, np.float32)
    spread: Pixels = np.asarray(np.clip((pixels - np.float32(dark)) / np.float32(bright - dark), 0, 1), np.float32)
    if valid is not None:
        spread[~valid] = 0
    return spread


def resize_by_area(field: Pixels, height: int, width: int) -> Pixels:
    """Scale (h, w): an axis that gets shorter is averaged over the extent of each new pixel, another interpolated."""
    rows, columns = field.shape
    if rows > height:
        field = _average_rows(field, height)
    if columns > width:
        field = np.ascontiguousarray(_average_rows(np.ascontiguousarray(field.T), width).T)
    return _interpolate(field, height, width)


def _average_rows(field: Pixels, want: int) -> Pixels:
    """Means over bands of rows, of which the first and the last count by the part that lies in the band."""
    have, step = len(field), len(field) / want
    found = np.empty((want, field.shape[1]), np.float32)
    for index in range(want):
        start, end = index * step, min((index + 1) * step, have)
        first, last = int(start), math.ceil(end)
        places = np.arange(first, last)
        share = (np.minimum(places + 1, end) - np.maximum(places, start)) / (end - start)
        found[index] = share.astype(np.float32) @ field[first:last]
    return found


def _interpolate(field: Pixels, height: int, width: int) -> Pixels:
    """Bilinear, pixels being squares; where an axis gets shorter, the kernel gets wider by as much."""
    if field.shape == (height, width):
        return field
    image = Image.fromarray(np.ascontiguousarray(field))
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _normalise(density: Pixels) -> Pixels:
    total = float(density.sum(dtype=np.float64))
    if not (math.isfinite(total) and total > 0 and float(density.min()) >= 0):
        raise ValueError("the map is no density over the film: negative, not finite, or zero everywhere")
    return np.asarray(density / np.float32(total), np.float32)
