"""Files to decode, made by code: a CT slice in DICOM with every attribute open to change."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from shared.problems import Problem

PATIENT = "Muster^Erika"

# No example is timed: on a busy machine the first call of a decoder takes longer than any deadline.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


class BuildCt(Protocol):
    def __call__(
        self,
        stored: NDArray[Any] | None = None,
        *,
        syntax: str = ExplicitVRLittleEndian,
        codestream: bytes | None = None,
        remove: tuple[str, ...] = (),
        **attributes: Any,
    ) -> bytes: ...


def _dataset(stored: NDArray[Any]) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = PATIENT, "4711", "F"
    dataset.StudyDate, dataset.Modality, dataset.Manufacturer = "20200102", "CT", "Scanner works"
    dataset.DeviceSerialNumber = "S-1"
    dataset.PixelSpacing, dataset.SliceThickness = [0.75, 0.5], 2
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-10, -20, 33.5]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    return dataset


@pytest.fixture
def build_ct(stored_slice: NDArray[np.uint16]) -> BuildCt:
    """Makes a DICOM file; keyword arguments override attributes, `codestream` replaces the pixel data."""

    def build(
        stored: NDArray[Any] | None = None,
        *,
        syntax: str = ExplicitVRLittleEndian,
        codestream: bytes | None = None,
        remove: tuple[str, ...] = (),
        **attributes: Any,
    ) -> bytes:
        stored = stored_slice if stored is None else stored
        dataset = _dataset(stored)
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        if codestream is None:
            dataset.add_new("PixelData", "OW", stored.tobytes())
        else:
            dataset.add_new("PixelData", "OB", encapsulate([codestream]))
            dataset["PixelData"].is_undefined_length = True
        for keyword in remove:
            del dataset[keyword]
        stream = io.BytesIO()
        dcmwrite(stream, dataset, enforce_file_format=True)
        return stream.getvalue()

    return build


@pytest.fixture
def stored_slice() -> NDArray[np.uint16]:
    """A small slice as a scanner stores it, 12 bits, with structure and noise."""
    random = np.random.default_rng(7)
    rows, columns = np.mgrid[:40, :48]
    disc = np.hypot(rows - 20, columns - 24) < 15
    return np.asarray(np.where(disc, 1060, 24) + random.integers(0, 40, disc.shape), dtype=np.uint16)


@pytest.fixture
def problem_of() -> Callable[[Callable[[], object]], Problem]:
    """Calls a function that has to raise a problem and returns that problem."""

    def call(function: Callable[[], object]) -> Problem:
        with pytest.raises(Problem) as caught:
            function()
        assert caught.value.errors, "a decoder's problem names the field"
        return caught.value

    return call
