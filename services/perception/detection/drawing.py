"""Detections drawn on their picture: boxes, and what they are in words that stay inside the picture."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shared.detectors.detections import Detections

Box = tuple[int, int, int, int]

PALETTE: Final = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#ffffff",
)  # fmt: skip
"""Colours that people of any colour vision tell apart (Okabe and Ito 2008, "Color Universal Design"), but for black."""

_LEAST_TEXT: Final = 9.0
_TEXT_SHARE: Final = 1 / 45
_LEAST_LINE: Final = 1
_LINE_SHARE: Final = 1 / 240
_LONGEST_NAME: Final = 24
_DARK: Final = "#000000"
_BRIGHT: Final = "#ffffff"
_HALF_BRIGHT: Final = 0.18
"""Relative luminance above which black on a colour has more contrast than white (WCAG 2, contrast ratio)."""


@dataclass(frozen=True, slots=True)
class _Style:
    """Sizes in pixels, by the size of the picture."""

    width: int
    height: int
    line: int
    padding: int
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_detections(
    picture: NDArray[np.uint8], detections: Detections, class_names: Sequence[str], *, with_scores: bool = True
) -> NDArray[np.uint8]:
    """Draw boxes with class and score.

    Classes have the colours of PALETTE in the order of their labels, from the first again after the last. Texts are
    laid out from the surest detection on, and hide neither another text nor a whole box: where there is no room for
    one, the box stands alone. The same input gives the same pixels.

    Args:
        picture: uint8 RGB (height, width, 3), which is not changed.
        detections: in pixels of the picture; what lies outside is cut off.
        class_names: by label; a label beyond them is written as a number.
        with_scores: whether scores are written; annotations have none.

    Returns:
        uint8 RGB of the same shape.
    """
    image = Image.fromarray(np.ascontiguousarray(picture))
    style = _style(image.width, image.height)
    best = detections.best(len(detections))
    boxes = [_pixels(box, style) for box in best.boxes.tolist()]
    labels, scores = best.labels.tolist(), best.scores.tolist()
    pen = ImageDraw.Draw(image)
    for box, label in reversed(list(zip(boxes, labels, strict=True))):  # the surest on top
        _draw_box(pen, box, _colour(label), style)
    texts = _Texts(pen, style, boxes)
    for box, label, score in zip(boxes, labels, scores, strict=True):
        texts.draw(box, _text(label, score if with_scores else None, class_names), _colour(label))
    return np.asarray(image, dtype=np.uint8)


def _style(width: int, height: int) -> _Style:
    # The mean of the sides: a panorama has room for what its height alone would not show.
    side = (width + height) / 2
    size = max(_LEAST_TEXT, round(side * _TEXT_SHARE))
    line = max(_LEAST_LINE, round(side * _LINE_SHARE))
    return _Style(width, height, line, max(1, round(size / 6)), ImageFont.load_default(size=size))


def _pixels(box: Sequence[float], style: _Style) -> Box:
    """First column and row and last column and row of a box, within the picture and at least one pixel."""
    left, right = _span(box[0], box[2], style.width)
    top, bottom = _span(box[1], box[3], style.height)
    return left, top, right, bottom


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    first = min(max(round(low), 0), size - 1)
    return first, max(first, min(round(high), size) - 1)


def _draw_box(pen: ImageDraw.ImageDraw, box: Box, colour: str, style: _Style) -> None:
    """A line of the colour, and a thinner dark one inside of it, which shows on a ground of that colour."""
    left, top, right, bottom = box
    inner = (left + style.line, top + style.line, right - style.line, bottom - style.line)
    if style.line > 1 and inner[0] < inner[2] and inner[1] < inner[3]:
        pen.rectangle(inner, outline=_DARK, width=style.line // 2)
    pen.rectangle(box, outline=colour, width=style.line)


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts on filled grounds, within the picture, which hide neither each other nor a box."""

    pen: ImageDraw.ImageDraw
    style: _Style
    boxes: Sequence[Box]
    _taken: list[Box] = field(default_factory=list)

    def draw(self, box: Box, text: str, colour: str) -> None:
        """Above the box, or at its top on the inside, or below it, wherever there is room first."""
        style = self.style
        left, top, right, bottom = self.pen.textbbox((0, 0), text, font=style.font)
        wide, high = math.ceil(right - left) + 2 * style.padding, math.ceil(bottom - top) + 2 * style.padding
        x = max(0, min(box[0], style.width - wide))
        places = [(x, y, x + wide - 1, y + high - 1) for y in (box[1] - high, box[1], box[3] + 1)]
        place = next((one for one in places if self._is_free(one)), None)
        if place is None:
            return
        self._taken.append(place)
        self.pen.rectangle(place, fill=colour)
        start = (x + style.padding - left, place[1] + style.padding - top)
        self.pen.text(start, text, fill=_contrast(colour), font=style.font)

    def _is_free(self, place: Box) -> bool:
        left, top, right, bottom = place
        if left < 0 or top < 0 or right >= self.style.width or bottom >= self.style.height:
            return False
        if any(_meets(place, other) for other in self._taken):
            return False
        return not any(_lies_in(box, place) for box in self.boxes)


def _meets(one: Box, other: Box) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _lies_in(one: Box, other: Box) -> bool:
    return other[0] <= one[0] and other[1] <= one[1] and one[2] <= other[2] and one[3] <= other[3]


def _text(label: int, score: float | None, class_names: Sequence[str]) -> str:
    """Name and score. The font has the letters of ASCII: accents go, and a name of other letters becomes a number."""
    name = class_names[label] if 0 <= label < len(class_names) else ""
    plain = unicodedata.normalize("NFKD", name.replace("\N{LATIN SMALL LETTER SHARP S}", "ss"))
    plain = "".join(letter for letter in plain if " " <= letter <= "~").strip() or f"class {label}"
    short = plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 3] + "..."
    return short if score is None else f"{short} {score:.2f}"


def _colour(label: int) -> str:
    return PALETTE[label % len(PALETTE)]


def _contrast(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour."""
    shares = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _DARK if luminance > _HALF_BRIGHT else _BRIGHT
