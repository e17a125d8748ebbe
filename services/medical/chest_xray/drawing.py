"""Maps over films, as pictures: in the film's own pixel grid, with a colour bar beside it.

Colours are those of Inferno (Smith and van der Walt 2015, CC0), whose lightness rises evenly, so that equal steps of
the map look equal, on paper and to people of any colour vision. The map is laid over the film more thickly where it is
higher, so that the film stays to be seen where nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from services.medical.chest_xray.films import Film, Pixels, spread_greys

_ANCHORS: Final = (
    "#000004", "#0b0724", "#210c4a", "#3d0965", "#57106e", "#71196e", "#8a226a", "#a32c61", "#bc3754", "#d24644",
    "#e45a31", "#f1731d", "#f98e09", "#fcac11", "#f9cb35", "#f2ea69", "#fcffa4",
)  # fmt: skip
"""Every sixteenth colour."""
_COLOURS: Final = 256
_STRENGTH: Final = 0.75
_GAP_SHARE: Final = 1 / 40
_BAR_SHARE: Final = 1 / 24
_TEXT_SHARE: Final = 1 / 40
_LEAST_TEXT: Final = 10.0
_WHITE: Final = 255
_PART: Final = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class ShownMap:
    """A map to be drawn.

    Attributes:
        values: float32 (rows, columns) of the film, at least 0.
        label: of the colour bar.
        highest: what the top of the colour bar is called; its bottom is 0.
    """

    values: Pixels
    label: str
    highest: float


@lru_cache(maxsize=1)
def colours() -> NDArray[np.uint8]:
    """The colours from the lowest to the highest value, uint8 (256, 3)."""
    anchors = np.array([[int(one[at : at + 2], 16) for at in (1, 3, 5)] for one in _ANCHORS], np.float64)
    places = np.linspace(0, len(anchors) - 1, _COLOURS)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def draw_film(film: Film) -> NDArray[np.uint8]:
    """A film as the network is shown it, but for its size: uint8 RGB (rows, columns, 3)."""
    greys = np.rint(spread_greys(film.pixels, film.valid) * _WHITE).astype(np.uint8)
    return np.repeat(greys[:, :, None], 3, axis=2)


def draw_overlay(film: Film, shown: ShownMap) -> NDArray[np.uint8]:
    """A film with a map over it and a colour bar at its right.

    Args:
        film: to draw on.
        shown: the map.

    Returns:
        uint8 RGB (rows, columns + width of the bar, 3). Its first columns are those of the film, pixel for pixel.
    """
    picture = draw_film(film)
    highest = float(shown.values.max())
    if highest > 0:
        _blend(picture, shown.values, highest)
    bar = _draw_bar(picture.shape[0], picture.shape[1], shown)
    return np.concatenate([picture, bar], axis=1)


def _blend(picture: NDArray[np.uint8], values: Pixels, highest: float) -> None:
    """Lay a map over a picture, in place and a part at a time: large films are much memory in float32."""
    flat, levels, table = picture.reshape(-1, 3), values.reshape(-1), colours().astype(np.float32)
    for start in range(0, len(levels), _PART):
        part = slice(start, start + _PART)
        level = levels[part] / np.float32(highest)
        colour = table[np.rint(level * (_COLOURS - 1)).astype(np.intp)]
        weight = (np.float32(_STRENGTH) * level)[:, None]
        flat[part] = np.rint(flat[part] * (1 - weight) + colour * weight).astype(np.uint8)


def _draw_bar(rows: int, columns: int, shown: ShownMap) -> NDArray[np.uint8]:
    """The colour bar on white, of the film's height: its scale is written beside it, its label along it."""
    side = (rows + columns) / 2
    font = ImageFont.load_default(size=max(_LEAST_TEXT, round(side * _TEXT_SHARE)))
    gap, thickness = max(2, round(side * _GAP_SHARE)), max(4, round(side * _BAR_SHARE))
    texts = [f"{share * shown.highest:.3g}" for share in (1.0, 0.5, 0.0)]
    boxes = [font.getbbox(text) for text in texts]
    wide = int(max(box[2] - box[0] for box in boxes)) + 1
    high = int(max(box[3] for box in boxes)) + 1
    label = _turned(shown.label, font, longest=rows)
    width = 4 * gap + thickness + wide + label.width
    canvas = Image.new("RGB", (width, rows), "white")
    top, bottom = high, max(high + 1, rows - high)
    ramp = np.linspace(_COLOURS - 1, 0, bottom - top).round().astype(np.intp)
    strip = np.repeat(colours()[ramp][:, None], thickness, axis=1)
    canvas.paste(Image.fromarray(strip), (gap, top))
    pen = ImageDraw.Draw(canvas)
    for text, place in zip(texts, (top, (top + bottom) // 2, bottom), strict=True):
        pen.text((2 * gap + thickness, place), text, fill="black", font=font, anchor="lm")
    canvas.paste(label, (3 * gap + thickness + wide, max(0, (rows - label.height) // 2)))
    return np.asarray(canvas, dtype=np.uint8)


def _turned(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, longest: int) -> Image.Image:
    """A text from bottom to top, black on white; made smaller where it would be longer than the film is high."""
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (max(1, int(right - left)) + 2, max(1, int(bottom - top)) + 2), "white")
    ImageDraw.Draw(image).text((1 - left, 1 - top), text, fill="black", font=font)
    if image.width > longest:
        size = (longest, max(1, round(image.height * longest / image.width)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image.transpose(Image.Transpose.ROTATE_90)
