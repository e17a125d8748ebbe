"""CT slices out of DICOM files: checked, decoded and converted to Hounsfield units.

Follows the CT Image IOD (PS3.3 A.3, C.8.2). Problems name elements and numbers of the pixel layout, never a value that
could belong to a patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from shared.imaging.dicom_parsing import parse_dicom
from shared.imaging.dicom_pixels import Lossy, PixelFormat, decode_pixels, lossy_compression
from shared.imaging.dicom_values import (
    code_of,
    find_padding,
    listed,
    number_of,
    numbers_of,
    read_layout,
    stored_value,
    value_of,
)
from shared.problems import field_problem

AIR_HU: Final = -1024.0
"""Lowest value that a slice is given: padding and everything below is set to it."""

_DECIMAL_LENGTH: Final = 16
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
        return code_of(self.dataset, "PhotometricInterpretation")


def _decimal_text(dataset: Dataset, keyword: str, number: float) -> str:
    """A number in at most the 16 characters of a DS: the source's own, else the nearest that fits (PS3.5 6.2)."""
    written = str(value_of(dataset, keyword)).strip()
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
    layout = read_layout(dataset, limit_pixels, pointer)
    slope, intercept = _read_rescale(dataset, pointer)
    stored = decode_pixels(dataset, layout, pointer=pointer)
    lossy = lossy_compression(dataset, layout)
    del dataset.PixelData
    padding_value = stored_value(value_of(dataset, "PixelPaddingValue"), layout)
    padding = find_padding(dataset, stored, padding_value, layout)
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


def _require_ct(dataset: Dataset, pointer: str) -> None:
    modality = code_of(dataset, "Modality")
    if modality != "CT":
        raise field_problem(pointer, f"The modality (0008,0060) is {modality}; a CT image is needed.")
    _require_ct_class(dataset, pointer)
    frames = 1.0 if value_of(dataset, "NumberOfFrames") is None else number_of(dataset, "NumberOfFrames", pointer)
    if frames != 1 or str(value_of(dataset, "SOPClassUID")) in _MULTI_FRAME_CLASSES:
        raise field_problem(pointer, f"The file holds {frames:.0f} frames; send one single-frame CT image per file.")
    photometric = code_of(dataset, "PhotometricInterpretation")
    if photometric not in {"MONOCHROME1", "MONOCHROME2"} or number_of(dataset, "SamplesPerPixel", pointer) != 1:
        raise field_problem(pointer, f"The photometric interpretation is {photometric}; a grey image is needed.")


def _require_ct_class(dataset: Dataset, pointer: str) -> None:
    """Only a CT image has Hounsfield units: not a localizer (PS3.3 C.8.2.1), nor what is merely called CT."""
    flavour = [str(each).strip() for each in listed(value_of(dataset, "ImageType"))][2:3]
    if flavour == ["LOCALIZER"]:
        raise field_problem(pointer, "The image is a localizer, which has no Hounsfield units; send slices.")
    kind = str(value_of(dataset, "SOPClassUID") or _CT_CLASS).strip(" \0")
    if kind != _CT_CLASS and kind not in _MULTI_FRAME_CLASSES:
        name = UID(kind).name if UID(kind).is_valid and not UID(kind).is_private else "unknown to DICOM"
        raise field_problem(pointer, f"The SOP class (0008,0016) is {name[:64]}; CT Image Storage is needed.")


def _read_rescale(dataset: Dataset, pointer: str) -> tuple[float, float]:
    slope, intercept = number_of(dataset, "RescaleSlope", pointer), number_of(dataset, "RescaleIntercept", pointer)
    if slope == 0:
        raise field_problem(pointer, "RescaleSlope (0028,1053) is zero.")
    unit = "HU" if value_of(dataset, "RescaleType") is None else code_of(dataset, "RescaleType").strip()
    if unit != "HU":
        raise field_problem(pointer, f"RescaleType (0028,1054) is {unit}; Hounsfield units (HU) are needed.")
    return slope, intercept


def _read_spacing(dataset: Dataset) -> tuple[float, float] | None:
    spacing = numbers_of(dataset, "PixelSpacing", 2)
    return (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None


def _read_position(dataset: Dataset) -> float | None:
    orientation, position = (
        numbers_of(dataset, "ImageOrientationPatient", 6),
        numbers_of(dataset, "ImagePositionPatient", 3),
    )
    if orientation is None or position is None:
        return None
    return float(np.dot(np.cross(orientation[:3], orientation[3:]), position))
