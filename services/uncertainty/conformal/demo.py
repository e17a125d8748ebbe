"""Writes files to try the conformal routes with: `python -m services.uncertainty.conformal.demo FOLDER`.

Drawn numbers and drawn signs, no data set: logits of a made-up classifier with their labels, and a ZIP of drawings
whose folders are classes of the released classifier of traffic signs. The README's commands are made with them.
"""

from __future__ import annotations

import io
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from shared.imaging.arrays import encode_npy
from shared.storage.zips import pack_zip

SEED = 11
ITEMS, CLASSES = 1000, 10
DRAWINGS = 16
"""Of each sign."""
SIDE = 64

_WHITE, _RED, _YELLOW, _BLUE = (235, 235, 235), (180, 25, 35), (240, 190, 30), (25, 80, 160)


def demo_files(seed: int = SEED) -> dict[str, bytes]:
    """The demonstration files by name; the same seed gives the same numbers and drawings.

    Returns:
        `logits.npy` (1000, 10) with `labels.npy`, and `signs.zip`: priority road (12), yield (13), stop (14), no entry
        (17) and keep right (38).
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, ITEMS)
    logits = random.normal(size=(ITEMS, CLASSES))
    logits[np.arange(ITEMS), labels] += 2.5
    return {
        "logits.npy": encode_npy(logits.astype(np.float32)),
        "labels.npy": encode_npy(labels.astype(np.int64)),
        "signs.zip": signs_zip(random),
    }


def signs_zip(random: np.random.Generator) -> bytes:
    """Drawings in a folder for each class."""
    drawings = ((label, index) for label in (12, 13, 14, 17, 38) for index in range(DRAWINGS))
    files = ((f"{label}/{index:02d}.png", draw_sign(label, random)) for label, index in drawings)
    return pack_zip(files, compressed=False)


def draw_sign(label: int, random: np.random.Generator) -> bytes:
    """PNG of a sign of one of the classes, a little moved, turned, darkened and blurred."""
    background = tuple(int(one) for one in random.integers(60, 190, 3))
    image = Image.new("RGB", (4 * SIDE, 4 * SIDE), background)
    _draw(ImageDraw.Draw(image), label, 4 * SIDE)
    image = image.rotate(
        float(random.uniform(-6, 6)),
        translate=(int(random.integers(-8, 9)), int(random.integers(-8, 9))),
        fillcolor=background,
        resample=Image.Resampling.BILINEAR,
    ).resize((SIDE, SIDE))
    image = image.point([int(value * light) for light in [random.uniform(0.5, 1)] for value in range(256)] * 3)
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 1.5)))).save(stream, format="PNG")
    return stream.getvalue()


def _draw(pen: ImageDraw.ImageDraw, label: int, side: int) -> None:
    middle = side / 2
    match label:
        case 12:
            pen.regular_polygon((middle, middle, 0.46 * side), 4, rotation=45, fill=_WHITE)
            pen.regular_polygon((middle, middle, 0.34 * side), 4, rotation=45, fill=_YELLOW)
        case 13:
            pen.regular_polygon((middle, 0.42 * side, 0.48 * side), 3, rotation=180, fill=_RED)
            pen.regular_polygon((middle, 0.42 * side, 0.3 * side), 3, rotation=180, fill=_WHITE)
        case 14:
            pen.regular_polygon((middle, middle, 0.45 * side), 8, rotation=22, fill=_RED)
            font = ImageFont.load_default(size=0.26 * side)
            pen.text((middle, middle), "STOP", fill=_WHITE, font=font, anchor="mm", stroke_width=2, stroke_fill=_WHITE)
        case 17:
            pen.circle((middle, middle), 0.45 * side, fill=_RED)
            pen.rectangle((0.2 * side, 0.42 * side, 0.8 * side, 0.58 * side), fill=_WHITE)
        case _:
            pen.circle((middle, middle), 0.45 * side, fill=_BLUE)
            pen.line((0.28 * side, 0.28 * side, 0.68 * side, 0.68 * side), fill=_WHITE, width=side // 9)
            pen.polygon(
                [(0.78 * side, 0.78 * side), (0.46 * side, 0.74 * side), (0.74 * side, 0.46 * side)], fill=_WHITE
            )


@lru_cache(maxsize=1)
def _files() -> dict[str, bytes]:
    return demo_files()


def sample_logits() -> bytes:
    """NPY of the logits."""
    return _files()["logits.npy"]


def sample_labels() -> bytes:
    """NPY of their labels."""
    return _files()["labels.npy"]


def sample_signs() -> bytes:
    """ZIP of the drawings."""
    return _files()["signs.zip"]


def main(folder: Path) -> None:
    """Write the demonstration files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in demo_files().items():
        (folder / name).write_bytes(content)
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
