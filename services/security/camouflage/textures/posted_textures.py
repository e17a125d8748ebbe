"""Textures that callers post, as pictures or arrays of any size, laid into the square that a mesh is painted with."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.imaging.arrays import decode_npy, require_finite
from shared.imaging.pictures import PICTURE_TYPES, decode_picture
from shared.imaging.signatures import MediaType, require_type
from shared.problems import field_problem

Floats = NDArray[np.float32]

TEXTURE_POINTER: Final = "/body/texture"
"""The field of a texture that a run begins with."""

TEXTURE_TYPES: Final = (*PICTURE_TYPES, MediaType.NPY)
"""What a texture may be posted as."""


def read_texture(data: bytes, side: int, *, pixel_limit: int, pointer: str) -> Floats:
    """A texture out of a file.

    Args:
        data: PNG, JPEG or WebP; or NPY of (height, width, 3) or (height, width), uint8, or float in [0, 1].
        side: texels of the square that it is resampled to, if it is of another size.
        pixel_limit: most pixels of the file.
        pointer: the field to blame.

    Returns:
        float32 (side, side, 3), sRGB in [0, 1]; row 0 is at v = 1.

    Raises:
        UnsupportedMediaType: the file is of another kind.
        ContentTooLarge: it has too many pixels.
        UnprocessableContent: it is damaged, or holds no colours.
    """
    if require_type(data, TEXTURE_TYPES, pointer=pointer) is MediaType.NPY:
        colours = _colours_of(data, pixel_limit, pointer)
    else:
        colours = decode_picture(data, limit_pixels=pixel_limit, pointer=pointer).scaled()
    if colours.ndim == 2:
        colours = np.repeat(colours[..., None], 3, axis=2)
    return resample(colours, side)


def resample(texture: Floats, side: int) -> Floats:
    """A texture (height, width, 3) as (side, side, 3): bilinear, and a mean where it gets smaller.

    One that has this size is left as it is.
    """
    if texture.shape[:2] == (side, side):
        return np.ascontiguousarray(texture, np.float32)
    bands = [Image.fromarray(np.ascontiguousarray(texture[..., band], np.float32)) for band in range(3)]
    resized = [np.asarray(band.resize((side, side), Image.Resampling.BILINEAR)) for band in bands]
    return np.asarray(np.clip(np.stack(resized, axis=2), 0, 1), np.float32)


def _colours_of(data: bytes, pixel_limit: int, pointer: str) -> Floats:
    array = decode_npy(data, limit_elements=3 * pixel_limit, dimensions=(2, 3), pointer=pointer)
    if array.ndim == 3 and array.shape[2] != 3:
        raise field_problem(
            pointer, f"The array is {array.shape}; a texture is (height, width, 3), or (height, width) for grey."
        )
    if array.dtype == np.uint8:
        return np.asarray(array, np.float32) / np.float32(255)
    if array.dtype.kind != "f":
        raise field_problem(pointer, f"The array is {array.dtype}; colours are uint8, or float from 0 to 1.")
    require_finite(array, pointer=pointer)
    if array.min() < 0 or array.max() > 1:
        raise field_problem(
            pointer, f"Colours lie between 0 and 1; these lie between {array.min():g} and {array.max():g}."
        )
    return np.asarray(array, np.float32)
