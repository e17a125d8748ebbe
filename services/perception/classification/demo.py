"""Writes a picture and its tensor to try the routes about signs with; the argument is the folder.

A drawn stop sign, no photograph. The README's curl commands and the picture of explanations are made of it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import orjson
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from services.perception.classification.inference import read_picture

SIDE = 256


def stop_sign() -> bytes:
    """PNG of a stop sign, cut out as the benchmark's are: a white rim, a red octagon, the word."""
    image = Image.new("RGB", (SIDE, SIDE), (96, 118, 128))
    draw, middle = ImageDraw.Draw(image), SIDE / 2
    draw.regular_polygon((middle, middle, 0.42 * SIDE), 8, rotation=22, fill=(235, 235, 235))
    draw.regular_polygon((middle, middle, 0.39 * SIDE), 8, rotation=22, fill=(175, 25, 35))
    draw.text(
        (middle, middle),
        "STOP",
        fill=(240, 240, 240),
        font=ImageFont.load_default(size=0.25 * SIDE),
        anchor="mm",
        stroke_width=2,
        stroke_fill=(240, 240, 240),
    )
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(1.5)).save(stream, format="PNG")
    return stream.getvalue()


def sign_tensor() -> bytes:
    """The sign as an inference request of the Open Inference Protocol, JSON."""
    pixels = read_picture(stop_sign(), pixel_limit=SIDE * SIDE, pointer="/body/file")[None]
    tensor = {"name": "pictures", "shape": pixels.shape, "datatype": "FP32", "data": pixels.round(4)}
    return orjson.dumps({"id": "sign", "inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def main(folder: Path) -> None:
    """Write the picture and the request into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("sign.png", stop_sign()), ("sign.json", sign_tensor())):
        (folder / name).write_bytes(content)
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
