"""Pictures of any sizes as panels of one size, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.imaging.sheets import Panel, sheet

SIDE: Final = 360
"""Longest side of a picture in its panel, in pixels."""

COLUMNS: Final = 4
"""Most panels of a row."""

_LEAST_WIDTH: Final = 280
"""Of a panel, in pixels: its caption has room below it."""

_WHITE: Final = 255


def fit(pixels: NDArray[np.uint8], *, side: int = SIDE) -> NDArray[np.uint8]:
    """A picture scaled down, if need be, until no side is longer than a panel; uint8 RGB.

    Args:
        pixels: uint8 RGB (height, width, 3).
        side: of the panel, in pixels.
    """
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)


def mosaic(panels: Sequence[Panel], *, columns: int = COLUMNS) -> NDArray[np.uint8]:
    """Panels from left to right and from top to bottom, each on white of the size of the largest.

    Args:
        panels: one or more, of any sizes.
        columns: most panels of a row.

    Returns:
        uint8 RGB.
    """
    height, width = (max(panel.pixels.shape[axis] for panel in panels) for axis in (0, 1))
    width = max(width, _LEAST_WIDTH)
    columns = min(columns, len(panels))
    places = [Panel(_on_white(panel.pixels, height, width), panel.caption) for panel in panels]
    places += [Panel(_on_white(None, height, width), "")] * (-len(panels) % columns)
    rows = [places[start : start + columns] for start in range(0, len(places), columns)]
    return sheet(rows, panel_side=1)  # as large as they are


def _on_white(pixels: NDArray[np.uint8] | None, height: int, width: int) -> NDArray[np.uint8]:
    canvas = np.full((height, width, 3), _WHITE, np.uint8)
    if pixels is not None:
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
    return canvas
