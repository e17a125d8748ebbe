"""Posted pictures as the networks of classifiers want them: RGB, scaled to the side that the network sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.imaging.pictures import decode_picture

Pictures = NDArray[np.float32]


def read_colour(data: bytes, *, height: int, width: int, pixel_limit: int, pointer: str) -> Pictures:
    """Decode a posted picture and scale the whole of it.

    Args:
        data: PNG, JPEG or WebP of any size; grey becomes RGB.
        height: rows that the network sees.
        width: columns that the network sees.
        pixel_limit: most pixels of the posted picture.
        pointer: the field to blame.

    Returns:
        RGB float32 in [0, 1], (3, height, width).

    Raises:
        UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
    """
    scaled = decode_picture(data, limit_pixels=pixel_limit, pointer=pointer).scaled()
    colour = scaled if scaled.ndim == 3 else np.repeat(scaled[:, :, None], 3, axis=2)
    return np.ascontiguousarray(resize(colour, height=height, width=width).transpose(2, 0, 1))


def resize(picture: NDArray[np.float32], *, height: int, width: int) -> NDArray[np.float32]:
    """Scale by bilinear sampling without smoothing (OpenCV's way, which the training data was scaled by).

    Args:
        picture: float32, (rows, columns, 3).
        height: rows of the result.
        width: its columns.
    """
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    scale = (columns / width, 0.0, 0.0, 0.0, rows / height, 0.0)
    channels = [
        Image.fromarray(np.ascontiguousarray(picture[:, :, channel])).transform(
            (width, height), Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR
        )
        for channel in range(3)
    ]
    return np.stack([np.asarray(channel, dtype=np.float32) for channel in channels], axis=2)
