"""A picture to explain: drawn, no photograph."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 128


def stop_sign() -> bytes:
    """PNG of a stop sign on grey."""
    image = Image.new("RGB", (SIDE, SIDE), (104, 118, 124))
    draw, middle = ImageDraw.Draw(image), SIDE / 2
    draw.regular_polygon((middle, middle, 0.44 * SIDE), 8, rotation=22, fill=(180, 25, 35))
    font = ImageFont.load_default(size=0.25 * SIDE)
    draw.text((middle, middle), "STOP", fill=(240, 240, 240), font=font, anchor="mm", stroke_width=1)
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.8)).save(stream, format="PNG")
    return stream.getvalue()
