"""CT answers as DICOM: derived from a posted slice, or new for a reconstruction that had no DICOM source.

A derived image keeps patient, study, geometry and the stored grid of its source, and names the source
(PS3.3 C.7.6.1.1.2 and C.12.1). It gets UIDs of its own, drops what no longer describes the pixels, and says that it
is for research use.
"""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from shared.imaging.dicom import CtSlice
from shared.imaging.dicom_elements import items, put, texts, uid, writable_copy
from shared.imaging.dicom_parsing import quiet
from shared.imaging.dicom_pixels import PixelFormat
from shared.problems import UnprocessableContent

RESEARCH_NOTICE: Final = "Research use only, not a medical device."

_IMPLEMENTATION_UID: Final = UID("2.25.315083901845436560997115969044595367248")
_SERIES_STEP: Final = 1000
"""Added to the number of the source series: far from what a scanner numbers by itself."""
_LARGEST_SERIES: Final = 2**31 - 1
_LONGEST_TEXT: Final = 1024
_LONGEST_COMMENT: Final = 10240
_PIXEL_DEPENDENT: Final = (
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL", "IconImageSequence",
    "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries",
    "DigitalSignaturesSequence", "MACParametersSequence", "EncryptedAttributesSequence", "VOILUTSequence",
)  # fmt: skip
_EQUIPMENT: Final = (
    "Manufacturer", "ManufacturerModelName", "InstitutionName", "StationName", "DeviceSerialNumber",
    "SoftwareVersions",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """Where a slice without a DICOM source stands among the slices of its series.

    Attributes:
        series_uid: the series, the same for all its slices; None makes one.
        study_uid: the study of them; None makes one.
        frame_uid: the frame of reference, one for a series (PS3.3 C.7.4.1.1.1); None makes one.
        number: InstanceNumber, from 1.
        position_mm: place along the axis of the scanner.
        distance_mm: from slice to slice; None for a slice by itself.
        assumed: whether the distance is a guess, which the comments of the image then say.
    """

    series_uid: str | None = None
    study_uid: str | None = None
    frame_uid: str | None = None
    number: int = 1
    position_mm: float = 0.0
    distance_mm: float | None = None
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class _Description:
    """What a new image says of itself: its series, how it was made, what to know of it, and by which software."""

    series_uid: str | None
    series: str
    derivation: str
    notice: str
    smoothed: bool
    software: str


def derive_ct(
    source: CtSlice,
    hu: NDArray[np.floating[Any]],
    *,
    series_description: str,
    derivation: str,
    series_uid: str | None = None,
    comment: str = "",
    smoothed: bool = True,
    software: str = "Facet",
) -> bytes:
    """A processed slice as a DICOM file that refers to its source.

    Values go back to the stored grid of the source by its slope and intercept, rounded and clipped to its bits.
    Padding pixels keep PixelPaddingValue. Private elements, overlays, signatures and elements that cannot be written
    are left out.

    Args:
        source: the slice that `hu` was computed from.
        hu: (h, w) Hounsfield units in the pixel grid of `source`.
        series_description: for SeriesDescription, at most 64 characters.
        derivation: for DerivationDescription, behind that of the source: the method, the model and its version.
        series_uid: the new series; pass the same one for all slices of a series, None makes one.
        comment: for ImageComments, behind the research notice.
        smoothed: whether its noise was reduced.
        software: for SoftwareVersions, at most 64 characters.

    Returns:
        A file in Explicit VR Little Endian.

    Raises:
        ValueError: `hu` has another shape than the source, or is not finite.
        UnprocessableContent: the elements of the source cannot be written as DICOM.
    """
    _require_image(hu, (source.layout.rows, source.layout.columns))
    try:
        with quiet():
            notice = f"{RESEARCH_NOTICE} {comment}".strip()
            described = _Description(series_uid, series_description, derivation, notice, smoothed, software)
            return _derived(source, hu, described)
    except Exception:  # whatever else the elements of a stranger's file provoke
        detail = "The elements of the DICOM file cannot be written again. Ask for application/x-npy or image/png."
        raise UnprocessableContent(detail) from None


def _derived(source: CtSlice, hu: NDArray[np.floating[Any]], described: _Description) -> bytes:
    dataset = _copy_without_pixels(source.dataset)
    _refer_to_source(dataset)
    _describe(dataset, described)
    _number_series(dataset)
    flavour = texts(dataset, "ImageType")[2:3] or ["AXIAL"]
    put(dataset, SOPClassUID=CTImageStorage, Modality="CT", ImageType=["DERIVED", "SECONDARY", *flavour])
    put(dataset, RescaleSlope=source.slope_text, RescaleIntercept=source.intercept_text, RescaleType="HU")
    put(dataset, PhotometricInterpretation=source.photometric)
    _mark_lossy(dataset, source)
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
    place: SlicePlace | None = None,
    comment: str = "",
    smoothed: bool = False,
    software: str = "Facet",
) -> bytes:
    """A slice without a DICOM source as a DICOM file: 16 bits unsigned, slope 1, intercept -1024.

    The patient is left empty. Arguments as for derive_ct; `spacing_mm` is the distance of rows and of columns, `place`
    where the slice stands in its series (alone by default), `smoothed` whether its noise was reduced.

    Raises:
        ValueError: `hu` is not two-dimensional, or not finite.
    """
    _require_image(hu, hu.shape if hu.ndim == 2 else None)
    place = place or SlicePlace()
    layout = PixelFormat(hu.shape[0], hu.shape[1], 16, 16, signed=False)
    with quiet():
        dataset = _empty_ct(place)
        notice = f"{RESEARCH_NOTICE} {comment}".strip()
        _describe(dataset, _Description(place.series_uid, series_description, derivation, notice, smoothed, software))
        _set_geometry(dataset, spacing_mm, slice_thickness_mm, place)
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
    stored = np.empty(hu.shape, dtype=layout.dtype)
    for row, values in enumerate(hu):  # one by one, as double precision of a large slice is much memory
        with np.errstate(over="ignore"):  # by a slope near zero; clipped right after
            steps = np.rint((values.astype(np.float64) - intercept) / slope)
        stored[row] = np.clip(steps, layout.lowest, layout.highest)
    return stored


def _keep_padding(stored: NDArray[Any], source: CtSlice) -> None:
    """Mark what the scanner did not see; the end of a range that the container cannot hold is its nearest value."""
    if source.padding_value is not None:
        limits = np.iinfo(stored.dtype)
        stored[source.padding] = min(max(source.padding_value, int(limits.min)), int(limits.max))


def _copy_without_pixels(source: Dataset) -> Dataset:
    """Every public element that can be passed on and does not describe the old pixels."""
    dataset = writable_copy(source)
    for keyword in _PIXEL_DEPENDENT:
        if keyword in dataset:
            del dataset[keyword]
    return dataset


def _code_item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _refer_to_source(dataset: Dataset) -> None:
    """Name the image that this one is made of, by the UIDs that it still has."""
    instance = uid(dataset, "SOPInstanceUID")
    if "SourceImageSequence" in dataset:
        del dataset.SourceImageSequence
    if instance is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID = uid(dataset, "SOPClassUID") or CTImageStorage
        reference.ReferencedSOPInstanceUID = instance
        reference.PurposeOfReferenceCodeSequence = Sequence(
            [_code_item("121322", "Source image for image processing operation")]
        )
        dataset.SourceImageSequence = Sequence([reference])
    put(dataset, StudyInstanceUID=uid(dataset, "StudyInstanceUID") or generate_uid(prefix=None))


def _describe_equipment(dataset: Dataset, software: str) -> None:
    """Name Facet as the maker of this image, and the scanner (where there was one) as a contributor."""
    scanner = Dataset()
    for keyword in _EQUIPMENT:
        if texts(dataset, keyword):
            scanner[keyword] = copy.deepcopy(dataset[keyword])
    if len(scanner):
        # Manufacturer is of type 1 in an item of this sequence (PS3.3 C.12.1).
        if "Manufacturer" not in scanner:
            scanner.Manufacturer = "UNKNOWN"
        scanner.PurposeOfReferenceCodeSequence = Sequence([_code_item("109101", "Acquisition Equipment")])
        earlier = items(dataset, "ContributingEquipmentSequence")
        put(dataset, ContributingEquipmentSequence=Sequence([*earlier, scanner]))
    for keyword in ("StationName", "DeviceSerialNumber", "InstanceCreatorUID"):
        if keyword in dataset:
            del dataset[keyword]
    put(dataset, Manufacturer="Facet", ManufacturerModelName="Facet", SoftwareVersions=software[:64])


def _describe(dataset: Dataset, described: _Description) -> None:
    _describe_equipment(dataset, described.software)
    _describe_series(dataset, described.series_uid, described.series, described.notice)
    _describe_derivation(dataset, described.derivation, smoothed=described.smoothed)


def _describe_series(dataset: Dataset, series_uid: str | None, description: str, notice: str) -> None:
    now = datetime.now(_zone(dataset))
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    put(dataset, SOPInstanceUID=generate_uid(prefix=None))
    put(dataset, SeriesInstanceUID=series_uid or generate_uid(prefix=None), SeriesDescription=description[:64])
    put(dataset, InstanceCreationDate=date, SeriesDate=date, ContentDate=date)
    put(dataset, InstanceCreationTime=time, SeriesTime=time, ContentTime=time)
    put(dataset, ImageComments=_joined(texts(dataset, "ImageComments"), notice, limit=_LONGEST_COMMENT))


def _describe_derivation(dataset: Dataset, derivation: str, *, smoothed: bool) -> None:
    """Add this step to what the source says of its own history (PS3.3 C.7.6.1.1.3; codes of CID 7203)."""
    earlier = texts(dataset, "DerivationDescription")
    put(dataset, DerivationDescription=_joined(earlier, derivation, limit=_LONGEST_TEXT))
    if smoothed:
        steps = [*items(dataset, "DerivationCodeSequence"), _code_item("113087", "Smoothing")]
        put(dataset, DerivationCodeSequence=Sequence(steps))


def _joined(earlier: list[str], last: str, *, limit: int) -> str:
    """Earlier text and the last sentence, which stays whole."""
    before = "\\".join(earlier)[: max(0, limit - len(last) - 2)]
    return f"{before}; {last}" if before else last[:limit]


def _number_series(dataset: Dataset) -> None:
    """A number of its own, which can be told from that of the source and is the same for all slices of a series."""
    try:
        number = int(texts(dataset, "SeriesNumber")[0])
    except (IndexError, ValueError):
        number = 0
    put(dataset, SeriesNumber=min(max(number, 0) + _SERIES_STEP, _LARGEST_SERIES))


def _zone(dataset: Dataset) -> Any:
    """The zone that the times of this data set are in, UTC where it does not say."""
    try:
        return datetime.strptime(str(dataset.TimezoneOffsetFromUTC), "%z").tzinfo
    except (AttributeError, ValueError):
        return UTC


def _mark_lossy(dataset: Dataset, source: CtSlice) -> None:
    """Once lossy, always lossy (PS3.3 C.7.6.1.1.5); what the source says of itself stays."""
    if source.lossy is None or texts(dataset, "LossyImageCompression") == ["01"]:
        return
    put(dataset, LossyImageCompression="01", LossyImageCompressionMethod=source.lossy.method)
    put(dataset, LossyImageCompressionRatio=f"{source.lossy.ratio:.6g}")


def _empty_ct(place: SlicePlace) -> Dataset:
    """The modules of a CT image (PS3.3 A.3-1) with everything empty that may be."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
        "ReferringPhysicianName", "StudyID", "PatientPosition", "PositionReferenceIndicator", "KVP",
        "AcquisitionNumber", "Laterality",
    ):  # fmt: skip
        setattr(dataset, keyword, None)
    dataset.StudyInstanceUID = place.study_uid or generate_uid(prefix=None)
    dataset.FrameOfReferenceUID = place.frame_uid or generate_uid(prefix=None)
    dataset.Modality = "CT"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = place.number
    return dataset


def _set_geometry(
    dataset: Dataset, spacing_mm: tuple[float, float], thickness_mm: float | None, place: SlicePlace
) -> None:
    row_spacing, column_spacing = spacing_mm
    dataset.PixelSpacing = [f"{row_spacing:.8g}", f"{column_spacing:.8g}"]
    dataset.SliceThickness = None if thickness_mm is None else f"{thickness_mm:.8g}"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, f"{place.position_mm:.8g}"]
    if place.distance_mm is not None:
        dataset.SpacingBetweenSlices = f"{place.distance_mm:.8g}"
    if place.assumed:
        dataset.ImageComments += f" The slices are placed {place.distance_mm:g} mm apart by assumption."


def _set_pixels(dataset: Dataset, stored: NDArray[Any], layout: PixelFormat) -> None:
    put(dataset, SamplesPerPixel=1, Rows=layout.rows, Columns=layout.columns)
    put(dataset, BitsAllocated=layout.bits_allocated, BitsStored=layout.bits_stored, HighBit=layout.bits_stored - 1)
    put(dataset, PixelRepresentation=int(layout.signed))
    if "NumberOfFrames" in dataset:
        del dataset.NumberOfFrames
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
