"""Colours as requests write them."""

from __future__ import annotations

import re
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

Colour = tuple[int, int, int]

_PATTERN: Final = r"^#[0-9A-Fa-f]{6}$"

HexColour = Annotated[str, Field(pattern=_PATTERN)]
"""An sRGB colour as `#rrggbb`."""


def parse_colour(text: str) -> Colour:
    """Red, green and blue, 0 to 255, of `#rrggbb`.

    Raises:
        ValueError: it is written otherwise.
    """
    if not re.match(_PATTERN, text):
        raise ValueError("a colour is written as #rrggbb")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def plain_texture(colour: Colour, side: int) -> NDArray[np.float32]:
    """A texture of one colour, float32 (side, side, 3), sRGB in [0, 1]."""
    return np.full((side, side, 3), np.array(colour, np.float32) / np.float32(255), np.float32)
