"""How large a posted file will be when decoded, by its header alone: its cost is known before it is spent."""

from __future__ import annotations

import io
import re
import struct
from contextlib import suppress
from typing import Final

from PIL import Image

from shared.imaging.arrays import stated_elements
from shared.imaging.pictures import ORIENTING
from shared.imaging.signatures import MediaType, sniff

_PNG_SIDES: Final = struct.Struct(">II")
_PNG_SIDES_AT: Final = 16
_ROWS: Final = re.compile(rb"\x28\0\x10\0(?:US\x02\0|\x02\0\0\0)(..)|\0\x28\0\x10US\0\x02(..)", re.DOTALL)
_COLUMNS: Final = re.compile(rb"\x28\0\x11\0(?:US\x02\0|\x02\0\0\0)(..)|\0\x28\0\x11US\0\x02(..)", re.DOTALL)
_DICOM_HEAD: Final = 1024 * 1024
UNKNOWN: Final = 2**26
"""Said of a DICOM file whose size cannot be read without decoding: more than any is accepted with."""

_FORMATS: Final = {MediaType.JPEG: "JPEG", MediaType.WEBP: "WEBP"}
_PICTURES: Final = {**_FORMATS, MediaType.PNG: "PNG"}
_ORIENTATION: Final = 0x0112
_LYING: Final = frozenset({5, 6, 7, 8})
"""Values of the EXIF orientation under which width and height change places."""


def stated_pixels(data: bytes) -> int:
    """Pixels of an image, or elements of an array, as the header says; 0 where it says nothing that can be read.

    Decoders judge the file anew and refuse it if it is too large or damaged; this only tells how much to expect.

    Args:
        data: PNG, JPEG, WebP, NPY or DICOM; of anything else, 0.
    """
    kind = sniff(data)
    with suppress(Exception):  # a damaged header costs nothing: its file is refused before anything is allocated
        if kind is MediaType.PNG:
            width, height = _PNG_SIDES.unpack_from(data, _PNG_SIDES_AT)
            return int(width) * int(height)
        if kind is MediaType.NPY:
            return stated_elements(data)
        if kind is MediaType.DICOM:
            return _dicom_pixels(data)
        if kind is not None and kind in _FORMATS:
            with Image.open(io.BytesIO(data), formats=[_FORMATS[kind]]) as image:
                return image.width * image.height
    return 0


def upright_sides(data: bytes) -> tuple[int, int] | None:
    """Width and height that `decode_picture` will give a picture, in pixels: with its EXIF orientation applied.

    Only the header is read, so the beginning of a PNG or JPEG file is mostly enough; an orientation that a PNG states
    behind its pixels is not seen.

    Args:
        data: PNG, JPEG or WebP, or the beginning of one.

    Returns:
        None where the header is not whole, is damaged, or is of no picture.
    """
    kind = sniff(data)
    if kind is None or kind not in _PICTURES:
        return None
    with suppress(Exception), Image.open(io.BytesIO(data), formats=[_PICTURES[kind]]) as image:
        # Where there is no sign of an orientation, a PNG would be decoded in search of one.
        lying = bool(ORIENTING.intersection(image.info)) and image.getexif().get(_ORIENTATION) in _LYING
        return (image.height, image.width) if lying else (image.width, image.height)
    return None


def _dicom_pixels(data: bytes) -> int:
    """Rows times columns, wherever their elements stand: parsing a data set is work, and this happens before any.

    The largest of all that look like them is taken, so that nothing can be understated; a deflated file has none.
    """
    head = data[:_DICOM_HEAD]
    rows, columns = (max(map(_side, pattern.finditer(head)), default=0) for pattern in (_ROWS, _COLUMNS))
    return rows * columns or UNKNOWN


def _side(found: re.Match[bytes]) -> int:
    little, big = found.groups()
    return int.from_bytes(little, "little") if little is not None else int.from_bytes(big, "big")
