"""CT answers as DICOM: derived from a posted slice, or new for a reconstruction that had no DICOM source.

A derived image keeps patient, study, geometry and the stored grid of its source, and names the source
(PS3.3 C.7.6.1.1.2 and C.12.1). It gets UIDs of its own, drops what no longer describes the pixels, and says that it
is for research use.
"""

from __future__ import annotations

import copy
import io
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from shared.imaging.dicom import CtSlice
from shared.imaging.dicom_parsing import quiet
from shared.imaging.dicom_pixels import PixelFormat

RESEARCH_NOTICE: Final = "Research use only, not a medical device."

_IMPLEMENTATION_UID: Final = UID("2.25.315083901845436560997115969044595367248")
_LOSSY_SYNTAXES: Final = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}
_PIXEL_DEPENDENT: Final = (
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL", "IconImageSequence",
    "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries",
    "DigitalSignaturesSequence", "MACParametersSequence", "EncryptedAttributesSequence", "VOILUTSequence",
)  # fmt: skip
_EQUIPMENT: Final = (
    "Manufacturer", "ManufacturerModelName", "InstitutionName", "StationName", "DeviceSerialNumber",
    "SoftwareVersions",
)  # fmt: skip


def derive_ct(
    source: CtSlice,
    hu: NDArray[np.floating[Any]],
    *,
    series_description: str,
    derivation: str,
    series_uid: str | None = None,
    software: str = "Facet",
) -> bytes:
    """A processed slice as a DICOM file that refers to its source.

    Values go back to the stored grid of the source by its slope and intercept, rounded and clipped to its bits.
    Padding pixels keep PixelPaddingValue. Private elements, overlays and signatures are left out.

    Args:
        source: the slice that `hu` was computed from.
        hu: (h, w) Hounsfield units in the pixel grid of `source`.
        series_description: for SeriesDescription, at most 64 characters.
        derivation: for DerivationDescription: the method, the model and its version.
        series_uid: the new series; pass the same one for all slices of a series, None makes one.
        software: for SoftwareVersions, at most 64 characters.

    Returns:
        A file in Explicit VR Little Endian.

    Raises:
        ValueError: `hu` has another shape than the source, or is not finite.
    """
    _require_image(hu, (source.layout.rows, source.layout.columns))
    with quiet():
        dataset = _copy_without_pixels(source.dataset)
        _refer_to_source(dataset, source.dataset)
        _describe_equipment(dataset, software)
        _describe_series(dataset, series_uid, series_description, derivation)
        dataset.SOPClassUID = CTImageStorage
        dataset.ImageType = ["DERIVED", "SECONDARY", *_image_flavour(source.dataset)]
        dataset.RescaleType = "HU"
        _mark_lossy(dataset, source.transfer_syntax)
        stored = _quantise(hu, source.layout, source.slope, source.intercept)
        _keep_padding(stored, source)
        _set_pixels(dataset, stored, source.layout)
        return _write(dataset)


def new_ct(
    hu: NDArray[np.floating[Any]],
    *,
    spacing_mm: tuple[float, float],
    series_description: str,
    derivation: str,
    slice_thickness_mm: float | None = None,
    position_mm: float = 0.0,
    series_uid: str | None = None,
    study_uid: str | None = None,
    instance_number: int = 1,
    software: str = "Facet",
) -> bytes:
    """A slice without a DICOM source as a DICOM file: 16 bits unsigned, slope 1, intercept -1024.

    The patient is left empty. Arguments as for derive_ct; `spacing_mm` is the distance of rows and of columns,
    `position_mm` the place of the slice along the axis of the scanner.

    Raises:
        ValueError: `hu` is not two-dimensional, or not finite.
    """
    _require_image(hu, hu.shape if hu.ndim == 2 else None)
    layout = PixelFormat(hu.shape[0], hu.shape[1], 16, 16, signed=False)
    with quiet():
        dataset = _empty_ct(study_uid, instance_number)
        _describe_equipment(dataset, software)
        _describe_series(dataset, series_uid, series_description, derivation)
        _set_geometry(dataset, spacing_mm, slice_thickness_mm, position_mm)
        dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "-1024", "HU"
        dataset.PhotometricInterpretation = "MONOCHROME2"
        _set_pixels(dataset, _quantise(hu, layout, 1.0, -1024.0), layout)
        return _write(dataset)


def new_series_uid() -> str:
    """A UID for the series that a job makes."""
    return str(generate_uid(prefix=None))


def _require_image(hu: NDArray[Any], shape: tuple[int, ...] | None) -> None:
    if shape is None or hu.shape != shape:
        raise ValueError(f"the image has shape {hu.shape}, not {shape or '(h, w)'}")
    if not np.isfinite(hu).all():
        raise ValueError("the image is not finite")


def _quantise(hu: NDArray[Any], layout: PixelFormat, slope: float, intercept: float) -> NDArray[Any]:
    stored = np.rint((np.asarray(hu, dtype=np.float64) - intercept) / slope)
    return np.clip(stored, layout.lowest, layout.highest).astype(layout.dtype)


def _keep_padding(stored: NDArray[Any], source: CtSlice) -> None:
    if source.padding_value is not None:
        stored[source.padding] = source.padding_value


def _copy_without_pixels(source: Dataset) -> Dataset:
    """Every public element that can be read and does not describe the old pixels."""
    dataset = Dataset()
    for tag in source.keys():  # noqa: SIM118 - iterating a data set converts each element and stops at a bad one
        overlay = 0x5000 <= tag.group <= 0x50FF or 0x6000 <= tag.group <= 0x60FF
        if tag.is_private or overlay or tag.group <= 0x0007 or tag.group >= 0x7FE0:
            continue
        try:
            dataset[tag] = copy.deepcopy(source[tag])
        except Exception:  # noqa: S112 - an element that cannot be read cannot be passed on
            continue
    dataset.remove_private_tags()
    for keyword in _PIXEL_DEPENDENT:
        if keyword in dataset:
            del dataset[keyword]
    return dataset


def _code_item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _refer_to_source(dataset: Dataset, source: Dataset) -> None:
    instance = source.get("SOPInstanceUID")
    if instance:
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.get("SOPClassUID") or CTImageStorage
        reference.ReferencedSOPInstanceUID = instance
        reference.PurposeOfReferenceCodeSequence = Sequence(
            [_code_item("121322", "Source image for image processing operation")]
        )
        dataset.SourceImageSequence = Sequence([reference])
    if not dataset.get("StudyInstanceUID"):
        dataset.StudyInstanceUID = generate_uid(prefix=None)


def _describe_equipment(dataset: Dataset, software: str) -> None:
    """Name Facet as the maker of this image, and the scanner (where there was one) as a contributor."""
    scanner = Dataset()
    for keyword in _EQUIPMENT:
        if dataset.get(keyword):
            scanner[keyword] = copy.deepcopy(dataset[keyword])
    if len(scanner):
        scanner.PurposeOfReferenceCodeSequence = Sequence([_code_item("109101", "Acquisition Equipment")])
        scanner.setdefault("Manufacturer", "")
        earlier = list(dataset.get("ContributingEquipmentSequence") or [])
        dataset.ContributingEquipmentSequence = Sequence([*earlier, scanner])
    for keyword in ("StationName", "DeviceSerialNumber", "InstanceCreatorUID"):
        if keyword in dataset:
            del dataset[keyword]
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "Facet", "Facet", software[:64]


def _describe_series(dataset: Dataset, series_uid: str | None, description: str, derivation: str) -> None:
    now = datetime.now(_zone(dataset))
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID = series_uid or generate_uid(prefix=None)
    dataset.SeriesDescription = description[:64]
    dataset.DerivationDescription = derivation[:1024]
    dataset.ImageComments = RESEARCH_NOTICE
    dataset.InstanceCreationDate = dataset.SeriesDate = dataset.ContentDate = date
    dataset.InstanceCreationTime = dataset.SeriesTime = dataset.ContentTime = time


def _zone(dataset: Dataset) -> Any:
    """The zone that the times of this data set are in, UTC where it does not say."""
    try:
        return datetime.strptime(str(dataset.TimezoneOffsetFromUTC), "%z").tzinfo
    except (AttributeError, ValueError):
        return UTC


def _image_flavour(source: Dataset) -> list[str]:
    flavour = [str(value) for value in (source.get("ImageType") or [])][2:3]
    return flavour or ["AXIAL"]


def _mark_lossy(dataset: Dataset, transfer_syntax: str) -> None:
    # Once lossy, always lossy (PS3.3 C.7.6.1.1.5).
    method = _LOSSY_SYNTAXES.get(transfer_syntax)
    if method is not None:
        dataset.LossyImageCompression = "01"
        dataset.setdefault("LossyImageCompressionMethod", method)


def _empty_ct(study_uid: str | None, instance_number: int) -> Dataset:
    """The modules of a CT image (PS3.3 A.3-1) with everything empty that may be."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
        "ReferringPhysicianName", "StudyID", "PatientPosition", "PositionReferenceIndicator", "KVP",
        "AcquisitionNumber",
    ):  # fmt: skip
        setattr(dataset, keyword, None)
    dataset.StudyInstanceUID = study_uid or generate_uid(prefix=None)
    dataset.FrameOfReferenceUID = generate_uid(prefix=None)
    dataset.Modality = "CT"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = instance_number
    return dataset


def _set_geometry(
    dataset: Dataset, spacing_mm: tuple[float, float], thickness_mm: float | None, position_mm: float
) -> None:
    row_spacing, column_spacing = spacing_mm
    dataset.PixelSpacing = [f"{row_spacing:.8g}", f"{column_spacing:.8g}"]
    dataset.SliceThickness = None if thickness_mm is None else f"{thickness_mm:.8g}"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, f"{position_mm:.8g}"]


def _set_pixels(dataset: Dataset, stored: NDArray[Any], layout: PixelFormat) -> None:
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = layout.rows, layout.columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (
        layout.bits_allocated, layout.bits_stored, layout.bits_stored - 1,
    )  # fmt: skip
    dataset.PixelRepresentation = int(layout.signed)
    data = stored.astype(layout.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OW", data + b"\x00" * (len(data) % 2))


def _write(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_UID
    meta.ImplementationVersionName = "FACET"
    dataset.file_meta = meta
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
