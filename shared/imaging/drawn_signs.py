"""A drawn stop sign, no photograph: what samples, pages and tests of classifiers are tried with."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]

_WRITING: Final = (240, 240, 240)
_RIM: Final = (235, 235, 235)
_RIM_WIDTH: Final = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSign:
    """How a stop sign is drawn.

    Attributes:
        side: height and width, in pixels.
        background: colour around it.
        red: colour of the octagon.
        radius: of the octagon, as a share of the side.
        rim: whether a white rim is around it.
        stroke: how much wider the letters are drawn than their font has them, in pixels.
        blur: radius of the Gaussian at the end, in pixels.
    """

    side: int
    background: Colour
    red: Colour
    radius: float
    rim: bool
    stroke: int
    blur: float

    def png(self) -> bytes:
        """The picture, RGB."""
        image = Image.new("RGB", (self.side, self.side), self.background)
        draw, middle = ImageDraw.Draw(image), self.side / 2
        if self.rim:
            self._octagon(draw, self.radius + _RIM_WIDTH, _RIM)
        self._octagon(draw, self.radius, self.red)
        font = ImageFont.load_default(size=0.25 * self.side)
        draw.text((middle, middle), "STOP", fill=_WRITING, font=font, anchor="mm", stroke_width=self.stroke)
        stream = io.BytesIO()
        image.filter(ImageFilter.GaussianBlur(self.blur)).save(stream, format="PNG")
        return stream.getvalue()

    def _octagon(self, draw: ImageDraw.ImageDraw, radius: float, colour: Colour) -> None:
        middle = self.side / 2
        draw.regular_polygon((middle, middle, radius * self.side), 8, rotation=22, fill=colour)


CUT_OUT: Final = StopSign(
    side=256, background=(96, 118, 128), red=(175, 25, 35), radius=0.39, rim=True, stroke=2, blur=1.5
)
"""Cut out as the pictures of the traffic-sign benchmark are, with its white rim."""

PLAIN: Final = StopSign(
    side=128, background=(104, 118, 124), red=(180, 25, 35), radius=0.44, rim=False, stroke=1, blur=0.8
)
"""On grey, without a rim."""
