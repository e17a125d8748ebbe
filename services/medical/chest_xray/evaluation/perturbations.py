"""Changes to a film that leave its lungs what they are, or take them away: what a shortcut would answer to.

All take and give grey values float32 (h, w) in [0, 1] on the film's grid, before `prepare_film`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from services.medical.chest_xray.films import spread_greys

Pixels = NDArray[np.float32]

BORDER: Final = 0.1
"""Of each side."""
_LETTERS: Final = (("L", 0.93, 0.04), ("AP", 0.03, 0.04), ("PORTABLE", 0.03, 0.9), ("07:42", 0.78, 0.92))
"""Texts and their upper left corner, as shares of width and height."""
_LETTER_HEIGHT: Final = 0.06


def crop_border(pixels: Pixels) -> Pixels:
    """Without a tenth of each side: collimation, markers and the patient's outline are mostly gone."""
    rows, columns = (round(BORDER * side) for side in pixels.shape)
    return pixels[rows : pixels.shape[0] - rows, columns : pixels.shape[1] - columns]


def blank_middle(pixels: Pixels) -> Pixels:
    """The border alone: what lies within becomes its mean. Whoever still tells films apart does not look at lungs."""
    rows, columns = (round(BORDER * side) for side in pixels.shape)
    found = pixels.copy()
    middle = found[rows : pixels.shape[0] - rows, columns : pixels.shape[1] - columns]
    middle[:] = middle.mean()
    return found


def draw_markers(pixels: Pixels) -> Pixels:
    """The same bright letters in the corners of every film."""
    height, width = pixels.shape
    layer = Image.new("L", (width, height))
    pen, font = ImageDraw.Draw(layer), ImageFont.load_default(size=max(6, round(_LETTER_HEIGHT * height)))
    for text, left, top in _LETTERS:
        pen.text((left * width, top * height), text, fill=255, font=font)
    share = np.asarray(layer, np.float32) / 255
    marked: Pixels = pixels + (pixels.max() - pixels) * share
    return marked


def gamma(exponent: float) -> Callable[[Pixels], Pixels]:
    """Another exposure curve: grey values, spread over the scale, to this power."""
    return lambda pixels: spread_greys(pixels) ** np.float32(exponent)


ORIGINAL: Final = "original"
VARIANTS: Final[dict[str, Callable[[Pixels], Pixels]]] = {
    ORIGINAL: lambda pixels: pixels,
    "border cropped": crop_border,
    "markers drawn": draw_markers,
    "gamma 0.7": gamma(0.7),
    "gamma 1.5": gamma(1.5),
    "middle blanked": blank_middle,
}
"""What films are measured as; the first is as they are."""
