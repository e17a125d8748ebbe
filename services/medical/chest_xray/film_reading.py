"""Posted files become films, or a problem that says what is needed instead."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.films import Film
from services.medical.chest_xray.radiographs import read_radiograph
from shared.imaging.pictures import Picture, decode_picture
from shared.imaging.signatures import MediaType, require_type
from shared.problems import field_problem

FILM_TYPES: Final = (MediaType.DICOM, MediaType.PNG, MediaType.JPEG)
"""What a film may be posted as."""

SHORTEST_SIDE: Final = 64
"""Pixels of a film's shorter side; nobody could read a smaller one."""

_GREY_TOLERANCE: Final = 12
"""By how much of 255 the colours of a pixel may differ: JPEG makes that much of grey."""
_COLOURED_SHARE: Final = 0.001
_LEAST_CONTRAST: Final = 1e-6


def read_film(data: bytes, *, pixel_limit: int, pointer: str = "/body/file") -> Film:
    """Read a film from DICOM, PNG or JPEG.

    Args:
        data: the whole file.
        pixel_limit: most pixels, judged by the header before decoding.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType: another kind of file, or a transfer syntax that cannot be decoded.
        ContentTooLarge: more pixels than allowed.
        UnprocessableContent: damaged, coloured, no frontal radiograph by what it states, tiny, or all of one grey.
    """
    kind = require_type(data, FILM_TYPES, pointer=pointer)
    if kind is MediaType.DICOM:
        film = _film_of_dicom(data, pixel_limit, pointer)
    else:
        picture = decode_picture(data, limit_pixels=pixel_limit, accepted=FILM_TYPES[1:], pointer=pointer)
        film = Film(_greys_of_picture(picture, pointer), kind)
    _require_content(film, pointer)
    return film


def _film_of_dicom(data: bytes, pixel_limit: int, pointer: str) -> Film:
    read = read_radiograph(data, limit_pixels=pixel_limit, pointer=pointer)
    return Film(
        read.greys,
        MediaType.DICOM,
        valid=read.valid,
        aspect=read.aspect,
        view=read.view,
        modality=read.modality,
        photometric=read.photometric,
        source=read.dataset,
    )


def _greys_of_picture(picture: Picture, pointer: str) -> NDArray[np.float32]:
    if picture.transparent:
        raise field_problem(pointer, "This picture has transparent pixels, and a film has none. Post it without.")
    if picture.pixels.ndim == 2:
        return picture.scaled()
    if not _is_grey(picture.pixels):
        detail = "This picture has colours, and a film is grey. Post the film itself: DICOM, or a grey PNG or JPEG."
        raise field_problem(pointer, detail)
    return np.asarray(picture.pixels[..., 1], np.float32) / np.float32(picture.maximum)


def _is_grey(pixels: NDArray[Any]) -> bool:
    """Whether a picture of three channels is grey, but for what compression makes of it and a speck of a marker."""
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    return float((spread > _GREY_TOLERANCE).mean()) <= _COLOURED_SHARE


def _require_content(film: Film, pointer: str) -> None:
    rows, columns = film.shape
    if min(rows, columns) < SHORTEST_SIDE:
        detail = f"The film has {rows} x {columns} pixels; each side needs at least {SHORTEST_SIDE}."
        raise field_problem(pointer, detail)
    counted = film.pixels if film.valid is None else film.pixels[film.valid]
    if counted.size == 0 or float(np.ptp(counted)) < _LEAST_CONTRAST:
        raise field_problem(pointer, "All pixels of the film have the same grey: there is nothing on it to be read.")
