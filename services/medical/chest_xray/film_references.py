"""What objects that refer to a film take over of it: patient, study and UIDs, and no other element."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DA, TM

from shared.imaging.dicom_elements import texts, uid
from shared.imaging.dicom_values import numbers_of
from shared.problems import UnprocessableContent

_PATIENT: Final = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY: Final = ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName")
_LOSSY: Final = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_ABOUT_FILM: Final = (
    "SpecificCharacterSet",
    "Modality",
    "TimezoneOffsetFromUTC",
    "PixelSpacing",
    "ImagerPixelSpacing",
    *_LOSSY,
)


class NoReference(UnprocessableContent):
    """The film has no UID by which it could be referred to."""


def refer_to(source: Dataset, shape: tuple[int, int], *, deidentified: bool) -> Dataset:
    """What is taken over of a film, with everything empty that is not there and has to be.

    Args:
        source: data set of the film, of elements that can be written.
        shape: rows and columns of it.
        deidentified: leave patient, dates and numbers of the study out.

    Raises:
        NoReference: it has no SOP Instance UID.
    """
    instance = uid(source, "SOPInstanceUID")
    if instance is None:
        raise NoReference("The DICOM file has no SOP Instance UID (0008,0018), so no object can refer to it.")
    film = Dataset()
    for keyword in _ABOUT_FILM:
        if keyword in source and texts(source, keyword):
            film[keyword] = source[keyword]
    for keyword in (*_PATIENT, *_STUDY):
        setattr(film, keyword, None)
        if keyword in source and texts(source, keyword) and _is_sound(source[keyword]) and not deidentified:
            film[keyword] = source[keyword]
    if deidentified:
        film.PatientIdentityRemoved = "YES"
        film.DeidentificationMethod = "Patient, dates and numbers of the study left out; UIDs kept"
    film.SOPClassUID = uid(source, "SOPClassUID") or ComputedRadiographyImageStorage
    film.SOPInstanceUID = instance
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(film, keyword, uid(source, keyword) or generate_uid(prefix=None))
    film.Rows, film.Columns = shape
    film.ImageType = ["ORIGINAL", "PRIMARY"]
    film.PatientOrientation = texts(source, "PatientOrientation") or None
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return film


def in_own_plane(film: Dataset) -> Dataset:
    """A film in a frame of reference of its own, as a parametric map has to lie in one (PS3.3 A.75.3).

    Its rows run to the patient's left and its columns to the feet, as a frontal film is hung; its first pixel is the
    origin. Nothing else is in this frame of reference, so the map claims no place in the patient.
    """
    placed = copy.deepcopy(film)
    placed.FrameOfReferenceUID, placed.PositionReferenceIndicator = generate_uid(prefix=None), ""
    placed.ImageOrientationPatient, placed.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [0, 0, 0]
    spacing = numbers_of(film, "PixelSpacing", 2) or numbers_of(film, "ImagerPixelSpacing", 2) or [1.0, 1.0]
    placed.PixelSpacing = [f"{side:.8g}" for side in (spacing if min(spacing) > 0 else [1.0, 1.0])]
    placed.SliceThickness = "1"
    return placed


def _is_sound(element: DataElement) -> bool:
    """Whether a date or a time is one; other elements may hold any text."""
    kinds: dict[str, Callable[[str], object]] = {"DA": DA, "TM": TM}
    try:
        kinds.get(element.VR, str)(str(element.value))
    except ValueError:
        return False
    return True
