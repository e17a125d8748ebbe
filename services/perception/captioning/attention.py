"""Where a captioner looked for a word, as a picture that fits the posted one."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.imaging.pictures import encode_png
from shared.imaging.preprocessing import Box

LONGEST_SIDE: Final = 512
"""Of a map, in pixels: larger pictures get one of their shape that is smaller, as a grid has no more to show."""


_TINY: Final = float(np.finfo(np.float32).tiny)


def map_sides(height: int, width: int) -> tuple[int, int]:
    """Height and width of the maps of a picture: its own, or as much smaller as it has to be."""
    factor = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def draw_map(weights: NDArray[np.float32], box: Box, *, height: int, width: int) -> NDArray[np.uint8]:
    """A grid of weights laid over what was seen of a picture, smoothed between places; white is the largest weight.

    Args:
        weights: (rows, columns), not negative.
        box: what was seen: left, top, right and bottom edge, in pixels of the picture.
        height: of the picture.
        width: of the picture.

    Returns:
        uint8 of `map_sides`; 0 outside of what was seen.
    """
    rows, columns = map_sides(height, width)
    left, right = (round(edge * columns / width) for edge in (box[0], box[2]))
    top, bottom = (round(edge * rows / height) for edge in (box[1], box[3]))
    size = max(right - left, 1), max(bottom - top, 1)
    shares = weights / max(float(weights.max()), _TINY)
    smooth = np.asarray(Image.fromarray(shares.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    canvas = np.zeros((rows, columns), np.uint8)
    region = canvas[top : top + size[1], left : left + size[0]]
    region[:] = np.rint(np.clip(smooth, 0, 1) * 255).astype(np.uint8)[: region.shape[0], : region.shape[1]]
    return canvas


def map_png(weights: NDArray[np.float32], box: Box, *, height: int, width: int) -> bytes:
    """`draw_map` as PNG."""
    return encode_png(draw_map(weights, box, height=height, width=width))
