"""CT slices out of DICOM files: checked, decoded and converted to Hounsfield units.

Follows the CT Image IOD (PS3.3 A.3, C.8.2). Problems name elements and numbers of the pixel layout, never a value that
could belong to a patient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID

from shared.imaging.dicom_parsing import parse_dicom, quiet
from shared.imaging.dicom_pixels import Lossy, PixelFormat, decode_pixels, lossy_compression
from shared.problems import ContentTooLarge, FieldError, field_problem

AIR_HU: Final = -1024.0
"""Lowest value that a slice is given: padding and everything below is set to it."""

_DECIMAL_LENGTH: Final = 16
_CODE_STRING: Final = re.compile(r"[A-Z0-9_ ]{1,16}")
_CT_CLASS: Final = "1.2.840.10008.5.1.4.1.1.2"
_MULTI_FRAME_CLASSES: Final = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})


@dataclass(frozen=True, slots=True)
class CtSlice:
    """One decoded CT slice.

    Attributes:
        hu: (h, w) float32, Hounsfield units, at least -1024, finite.
        dataset: the data set without its pixel data, for deriving answers from it.
        layout: how values are stored.
        slope: HU per stored step.
        intercept: HU of stored zero.
        padding: (h, w) bool, pixels outside of the reconstructed field, by PixelPaddingValue.
        padding_value: what padding is stored as, None where the file does not say.
        clamped: pixels, besides padding, that were below -1024 HU and have been raised to it.
        spacing_mm: distance of rows and of columns, None where the file does not say.
        position_mm: place along the normal of the slice, None where the file does not say.
        transfer_syntax: UID that the file came in.
        lossy: what its compression lost, by its codestream; None where that is reversible.
    """

    hu: NDArray[np.float32]
    dataset: Dataset
    layout: PixelFormat
    slope: float
    intercept: float
    padding: NDArray[np.bool_]
    padding_value: int | None
    clamped: int
    spacing_mm: tuple[float, float] | None
    position_mm: float | None
    transfer_syntax: str
    lossy: Lossy | None = None

    @property
    def slope_text(self) -> str:
        """RescaleSlope as a decimal string, as the source wrote it."""
        return _decimal_text(self.dataset, "RescaleSlope", self.slope)

    @property
    def intercept_text(self) -> str:
        """RescaleIntercept likewise."""
        return _decimal_text(self.dataset, "RescaleIntercept", self.intercept)

    @property
    def photometric(self) -> str:
        """MONOCHROME1 or MONOCHROME2."""
        return _code(self.dataset, "PhotometricInterpretation")


def _decimal_text(dataset: Dataset, keyword: str, number: float) -> str:
    """A number in at most the 16 characters of a DS: the source's own, else the nearest that fits (PS3.5 6.2)."""
    written = str(_value(dataset, keyword)).strip()
    if len(written) <= _DECIMAL_LENGTH and _same_number(written, number):
        return written
    digits = range(15, 0, -1)
    return next(text for precision in digits if len(text := f"{number:.{precision}g}") <= _DECIMAL_LENGTH)


def _same_number(text: str, number: float) -> bool:
    try:
        return float(text) == number
    except ValueError:
        return False


def read_ct(data: bytes, *, limit_pixels: int, pointer: str = "/body/file") -> CtSlice:
    """Read a single-frame CT image.

    Stored values become HU by RescaleSlope and RescaleIntercept. MONOCHROME1 only asks for an inverted display
    (PS3.3 C.7.6.3.1.2) and changes no HU value.

    Args:
        data: the whole file.
        limit_pixels: most pixels, judged by Rows and Columns before decoding.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType: not DICOM, or a transfer syntax that cannot be decoded.
        ContentTooLarge: more pixels than allowed.
        UnprocessableContent: not CT, a localizer, several frames, colour, no rescale, or damaged.
    """
    dataset = parse_dicom(data, pointer=pointer)
    _require_ct(dataset, pointer)
    layout = _read_layout(dataset, limit_pixels, pointer)
    slope, intercept = _read_rescale(dataset, pointer)
    stored = decode_pixels(dataset, layout, pointer=pointer)
    lossy = lossy_compression(dataset, layout)
    del dataset.PixelData
    padding_value = _stored_value(_value(dataset, "PixelPaddingValue"), layout)
    padding = _find_padding(dataset, stored, padding_value, layout)
    with np.errstate(over="ignore", invalid="ignore"):  # judged right after
        hu = (stored * slope + intercept).astype(np.float32)
    if not np.isfinite(hu).all():
        raise field_problem(pointer, "RescaleSlope and RescaleIntercept lead beyond every number.")
    clamped = int(np.count_nonzero((hu < AIR_HU) & ~padding))
    hu[padding | (hu < AIR_HU)] = AIR_HU
    return CtSlice(
        hu=hu,
        dataset=dataset,
        layout=layout,
        slope=slope,
        intercept=intercept,
        padding=padding,
        padding_value=padding_value,
        clamped=clamped,
        spacing_mm=_read_spacing(dataset),
        position_mm=_read_position(dataset),
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
        lossy=lossy,
    )


def _value(dataset: Dataset, keyword: str) -> Any:
    """The value of an element, None when it is missing, empty or cannot be converted."""
    try:
        with quiet():
            value = dataset[keyword].value
    except Exception:  # conversion throws whatever the bytes provoke
        return None
    return value if value not in ("", b"", []) else None


def _number(dataset: Dataset, keyword: str, pointer: str) -> float:
    try:
        number = float(_value(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not np.isfinite(number):
        tag = str(Tag(tag_for_keyword(keyword) or 0)).upper()
        raise field_problem(pointer, f"The element {keyword} {tag} is missing or no number; a CT image needs it.")
    return number


def _code(dataset: Dataset, keyword: str) -> str:
    """A code string that is safe to repeat in an answer."""
    value = _value(dataset, keyword)
    if value is None:
        return "nothing"
    return str(value) if _CODE_STRING.fullmatch(str(value)) else "something unreadable"


def _require_ct(dataset: Dataset, pointer: str) -> None:
    modality = _code(dataset, "Modality")
    if modality != "CT":
        raise field_problem(pointer, f"The modality (0008,0060) is {modality}; a CT image is needed.")
    _require_ct_class(dataset, pointer)
    frames = 1.0 if _value(dataset, "NumberOfFrames") is None else _number(dataset, "NumberOfFrames", pointer)
    if frames != 1 or str(_value(dataset, "SOPClassUID")) in _MULTI_FRAME_CLASSES:
        raise field_problem(pointer, f"The file holds {frames:.0f} frames; send one single-frame CT image per file.")
    photometric = _code(dataset, "PhotometricInterpretation")
    if photometric not in {"MONOCHROME1", "MONOCHROME2"} or _number(dataset, "SamplesPerPixel", pointer) != 1:
        raise field_problem(pointer, f"The photometric interpretation is {photometric}; a grey image is needed.")


def _require_ct_class(dataset: Dataset, pointer: str) -> None:
    """Only a CT image has Hounsfield units: not a localizer (PS3.3 C.8.2.1), nor what is merely called CT."""
    flavour = [str(each).strip() for each in _listed(_value(dataset, "ImageType"))][2:3]
    if flavour == ["LOCALIZER"]:
        raise field_problem(pointer, "The image is a localizer, which has no Hounsfield units; send slices.")
    kind = str(_value(dataset, "SOPClassUID") or _CT_CLASS).strip(" \0")
    if kind != _CT_CLASS and kind not in _MULTI_FRAME_CLASSES:
        name = UID(kind).name if UID(kind).is_valid and not UID(kind).is_private else "unknown to DICOM"
        raise field_problem(pointer, f"The SOP class (0008,0016) is {name[:64]}; CT Image Storage is needed.")


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else []


def _read_layout(dataset: Dataset, limit_pixels: int, pointer: str) -> PixelFormat:
    names = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    rows, columns, allocated, stored, signed = (int(_number(dataset, name, pointer)) for name in names)
    if rows < 1 or columns < 1:
        raise field_problem(pointer, f"The image has {rows} rows and {columns} columns.")
    if rows * columns > limit_pixels:
        detail = f"The image has {rows} x {columns} pixels; at most {limit_pixels} are accepted."
        raise ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
    fits = allocated in {8, 16} and 1 < stored <= allocated and signed in {0, 1}
    high_bit = _value(dataset, "HighBit")
    if not fits or (high_bit is not None and _number(dataset, "HighBit", pointer) != stored - 1):
        detail = (
            f"Values of {stored} bits in {allocated} (PixelRepresentation {signed}) are not accepted; "
            "use 2 to 16 low bits in 8 or 16."
        )
        raise field_problem(pointer, detail)
    return PixelFormat(rows, columns, allocated, stored, bool(signed))


def _read_rescale(dataset: Dataset, pointer: str) -> tuple[float, float]:
    slope, intercept = _number(dataset, "RescaleSlope", pointer), _number(dataset, "RescaleIntercept", pointer)
    if slope == 0:
        raise field_problem(pointer, "RescaleSlope (0028,1053) is zero.")
    unit = "HU" if _value(dataset, "RescaleType") is None else _code(dataset, "RescaleType").strip()
    if unit != "HU":
        raise field_problem(pointer, f"RescaleType (0028,1054) is {unit}; Hounsfield units (HU) are needed.")
    return slope, intercept


def _find_padding(dataset: Dataset, stored: NDArray[Any], value: int | None, layout: PixelFormat) -> NDArray[np.bool_]:
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = _stored_value(_value(dataset, "PixelPaddingRangeLimit"), layout)
    ends = sorted((value, value if limit is None else limit))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]), dtype=bool)


def _stored_value(value: Any, layout: PixelFormat) -> int | None:
    """A "US or SS" element as a stored value; where the VR is implicit, its sign has not been applied yet."""
    if isinstance(value, bytes) and len(value) == 2:
        value = int.from_bytes(value, "little")
    if not isinstance(value, int):
        return None
    wrapped = value & 0xFFFF
    return wrapped - 0x10000 if layout.signed and wrapped >= 0x8000 else wrapped


def _numbers(dataset: Dataset, keyword: str, count: int) -> list[float] | None:
    try:
        numbers = [float(number) for number in _value(dataset, keyword)]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else None


def _read_spacing(dataset: Dataset) -> tuple[float, float] | None:
    spacing = _numbers(dataset, "PixelSpacing", 2)
    return (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None


def _read_position(dataset: Dataset) -> float | None:
    orientation, position = (
        _numbers(dataset, "ImageOrientationPatient", 6),
        _numbers(dataset, "ImagePositionPatient", 3),
    )
    if orientation is None or position is None:
        return None
    return float(np.dot(np.cross(orientation[:3], orientation[3:]), position))
