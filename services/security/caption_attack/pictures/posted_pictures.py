"""Posted pictures as attacks change them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.imaging.colour import read_pixels

_WHITE: Final = 255


def read_attacked_picture(data: bytes, *, longest_side: int, pixel_limit: int, pointer: str) -> NDArray[np.uint8]:
    """A posted picture, upright and scaled down if it is larger: (h, w, 3) uint8, RGB.

    A captioner scales what it sees down to a few hundred pixels: single pixels of a large photograph would vanish.

    Args:
        data: PNG, JPEG or WebP.
        longest_side: most pixels of its longer side afterwards.
        pixel_limit: most pixels of the posted picture.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
    """
    pixels, white = read_pixels(data, pixel_limit=pixel_limit, pointer=pointer)
    if white != _WHITE:
        pixels = np.rint(pixels.astype(np.float32) * (_WHITE / white)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor = longest_side / max(image.size)
    if factor < 1:
        sides = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(sides, Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8)
