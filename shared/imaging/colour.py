"""Posted pictures as the networks of classifiers want them: RGB, scaled to the side that the network sees."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.imaging.pictures import decode_picture

Pictures = NDArray[np.float32]

LARGEST_SAMPLED: Final = 2
"""Factor up to which bilinear samples read every pixel."""


def read_pixels(data: bytes, *, pixel_limit: int, pointer: str) -> tuple[NDArray[Any], int]:
    """Decode a posted picture.

    Args:
        data: PNG, JPEG or WebP of any size; grey becomes RGB.
        pixel_limit: most pixels of it.
        pointer: the field to blame.

    Returns:
        RGB (rows, columns, 3), uint8 or uint16, and the value of white.

    Raises:
        UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
    """
    picture = decode_picture(data, limit_pixels=pixel_limit, pointer=pointer)
    pixels = picture.pixels
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2), picture.maximum


def read_rgb(data: bytes, *, pixel_limit: int, pointer: str) -> NDArray[np.uint8]:
    """Decode a posted picture to eight bits, as `read_pixels`; of sixteen the upper eight are kept."""
    pixels, white = read_pixels(data, pixel_limit=pixel_limit, pointer=pointer)
    return pixels if white == 255 else (pixels // (white // 255)).astype(np.uint8)


def resize(picture: NDArray[Any], *, height: int, width: int) -> NDArray[np.float32]:
    """Scale to what a network sees.

    An axis that becomes up to twice as short is sampled bilinearly without smoothing (OpenCV's way, which the training
    data was scaled by). One that becomes shorter than that is averaged over the area of each new pixel: samples would
    leave most pixels out, and who knows which are read can draw what nobody sees (Quiring et al. 2020, "Adversarial
    Preprocessing").

    Args:
        picture: any real dtype, (rows, columns, channels).
        height: rows of the result.
        width: its columns.
    """
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture.astype(np.float32, copy=False)
    if rows > LARGEST_SAMPLED * height:
        picture = _averaged_rows(picture, height)
    if columns > LARGEST_SAMPLED * width:
        picture = _averaged_rows(picture.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return _sampled(picture, height, width)


def _averaged_rows(picture: NDArray[Any], want: int) -> NDArray[np.float32]:
    """Means over bands of rows, of which the first and the last count by the part that lies in the band."""
    have, step = len(picture), len(picture) / want
    found = np.empty((want, *picture.shape[1:]), np.float32)
    for index in range(want):
        start, end = index * step, min((index + 1) * step, have)
        first, last = int(start), math.ceil(end)
        places = np.arange(first, last)
        share = (np.minimum(places + 1, end) - np.maximum(places, start)) / (end - start)
        found[index] = np.tensordot(share.astype(np.float32), picture[first:last].astype(np.float32), 1)
    return found


def _sampled(picture: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Bilinear samples; only pixels that are looked at become float32."""
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture.astype(np.float32, copy=False)
    above, below, share = _neighbours(rows, height)
    left, right, part = _neighbours(columns, width)
    corners = [
        np.take(np.take(picture, vertical, axis=0), horizontal, axis=1).astype(np.float32)
        for vertical in (above, below)
        for horizontal in (left, right)
    ]
    upper, lower = (_mix(corners[at], corners[at + 1], part[None, :, None]) for at in (0, 2))
    return _mix(upper, lower, share[:, None, None])


def _mix(one: NDArray[np.float32], other: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """One, and as much of the way to the other; writes over the other."""
    np.subtract(other, one, out=other)
    np.multiply(other, share, out=other)
    return np.add(one, other, out=other)


@lru_cache(maxsize=64)
def _neighbours(have: int, want: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Of each wanted sample the two that it lies between, and where: pixels are squares, edges are repeated."""
    centres = (np.arange(want) + 0.5) * (have / want) - 0.5
    first = np.floor(centres)
    share = (centres - first).astype(np.float32)
    low, high = (np.clip(first + step, 0, have - 1).astype(np.intp) for step in (0, 1))
    return low, high, share
