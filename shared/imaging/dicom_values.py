"""Elements of an image that came as a DICOM file, read with distrust: numbers, codes, layout and padding of its pixels.

Problems name elements, and numbers of the pixel layout, never a value that could belong to a patient.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from shared.imaging.dicom_parsing import quiet
from shared.imaging.dicom_pixels import PixelFormat
from shared.problems import ContentTooLarge, FieldError, field_problem

_CODE_STRING: Final = re.compile(r"[A-Z0-9_ ]{1,16}")


def value_of(dataset: Dataset, keyword: str) -> Any:
    """The value of an element, None when it is missing, empty or cannot be converted."""
    try:
        with quiet():
            value = dataset[keyword].value
    except Exception:  # conversion throws whatever the bytes provoke
        return None
    return value if value not in ("", b"", []) else None


def number_of(dataset: Dataset, keyword: str, pointer: str) -> float:
    """A number that an image cannot do without.

    Raises:
        UnprocessableContent: there is none.
    """
    try:
        number = float(value_of(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not np.isfinite(number):
        tag = str(Tag(tag_for_keyword(keyword) or 0)).upper()
        raise field_problem(pointer, f"The element {keyword} {tag} is missing or no number; the image needs it.")
    return number


def numbers_of(dataset: Dataset, keyword: str, count: int) -> list[float] | None:
    """So many finite numbers, None where the element holds anything else."""
    try:
        numbers = [float(number) for number in value_of(dataset, keyword)]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else None


def code_of(dataset: Dataset, keyword: str) -> str:
    """A code string that is safe to repeat in an answer."""
    value = value_of(dataset, keyword)
    if value is None:
        return "nothing"
    return str(value) if _CODE_STRING.fullmatch(str(value)) else "something unreadable"


def listed(value: Any) -> list[Any]:
    """The values of an element of several; none of one that holds a single value."""
    return list(value) if isinstance(value, MultiValue | list | tuple) else []


def read_layout(dataset: Dataset, limit_pixels: int, pointer: str) -> PixelFormat:
    """How pixels are stored.

    Raises:
        ContentTooLarge: more pixels than allowed.
        UnprocessableContent: an element is missing, or says what is not accepted.
    """
    names = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    rows, columns, allocated, stored, signed = (int(number_of(dataset, name, pointer)) for name in names)
    if rows < 1 or columns < 1:
        raise field_problem(pointer, f"The image has {rows} rows and {columns} columns.")
    if rows * columns > limit_pixels:
        detail = f"The image has {rows} x {columns} pixels; at most {limit_pixels} are accepted."
        raise ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
    fits = allocated in {8, 16} and 1 < stored <= allocated and signed in {0, 1}
    high_bit = value_of(dataset, "HighBit")
    if not fits or (high_bit is not None and number_of(dataset, "HighBit", pointer) != stored - 1):
        detail = (
            f"Values of {stored} bits in {allocated} (PixelRepresentation {signed}) are not accepted; "
            "use 2 to 16 low bits in 8 or 16."
        )
        raise field_problem(pointer, detail)
    return PixelFormat(rows, columns, allocated, stored, bool(signed))


def find_padding(dataset: Dataset, stored: NDArray[Any], value: int | None, layout: PixelFormat) -> NDArray[np.bool_]:
    """Pixels that are padding, by PixelPaddingValue and PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2).

    Args:
        dataset: of the image.
        stored: its values as they are stored.
        value: PixelPaddingValue as a stored value; None where there is none.
        layout: of its pixels.
    """
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = stored_value(value_of(dataset, "PixelPaddingRangeLimit"), layout)
    ends = sorted((value, value if limit is None else limit))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]), dtype=bool)


def stored_value(value: Any, layout: PixelFormat) -> int | None:
    """A "US or SS" element as a stored value; where the VR is implicit, its sign has not been applied yet."""
    if isinstance(value, bytes) and len(value) == 2:
        value = int.from_bytes(value, "little")
    if not isinstance(value, int):
        return None
    wrapped = value & 0xFFFF
    return wrapped - 0x10000 if layout.signed and wrapped >= 0x8000 else wrapped
