"""Sample films, drawn by code: a chest from the front, no patient's, as DICOM of either polarity and as PNG."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from services.medical.chest_xray.films import Pixels
from shared.imaging.pictures import encode_png
from shared.storage.zips import pack_zip

ROWS: Final = 640
COLUMNS: Final = 512
WHITE: Final = 4095
"""Of twelve bits."""

_STUDY: Final = "2.25.197400264019273659100000000000000001"
_SERIES: Final = "2.25.197400264019273659100000000000000002"
_FILM: Final = "2.25.19740026401927365910000000000000001"
_FRAME: Final = 0.02


def draw_chest(rows: int = ROWS, columns: int = COLUMNS, *, seed: int = 7) -> Pixels:
    """A chest from the front, float32 (rows, columns) in [0, 1], bones white: body, lungs, heart, spine and ribs.

    Thicknesses along the beam are added and shown as their negative logarithm would be: no physics beyond that, and
    good for nothing but to try routes with.
    """
    down, across = np.mgrid[:rows, :columns].astype(np.float64)
    y, x = (down + 0.5) / rows * 2 - 1, (across + 0.5) / columns * 2 - 1
    film = 0.52 * _inside(x, y, (0, 0.15), (0.93, 1.15)) + 0.25 * _inside(x, y, (0, -1.05), (0.3, 0.45))
    for side in (-1, 1):
        film -= 0.34 * _inside(x, y, (side * 0.42, -0.02), (0.31, 0.66))
        film += 0.13 * _inside(x, y, (side * 0.45, -0.78), (0.42, 0.05))  # collar bone
        film += 0.18 * _inside(x, y, (side * 0.46, 0.78), (0.4, 0.26))  # diaphragm
    film += 0.22 * _inside(x, y, (0, -0.1), (0.13, 0.95))  # mediastinum
    film += 0.2 * _inside(x, y, (0.14, 0.34), (0.3, 0.3))  # heart, at the right of the picture
    film += 0.14 * _inside(x, y, (0, 0), (0.06, 1.1))  # spine
    film += _ribs(x, y)
    noise = np.random.default_rng(seed).normal(0, 0.012, film.shape)
    return np.clip(film + noise, 0, 1).astype(np.float32)


def _inside(
    x: NDArray[np.float64], y: NDArray[np.float64], centre: tuple[float, float], radii: tuple[float, float]
) -> NDArray[np.float64]:
    """1 within an ellipse, falling softly to 0 at its edge."""
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    return np.asarray(1 / (1 + np.exp(np.clip((distance - 1) / 0.04, -60, 60))))


def _ribs(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nine arcs on each side, falling outwards."""
    found = np.zeros(x.shape)
    chest = _inside(x, y, (0, 0.05), (0.82, 0.95))
    for rib in range(9):
        height = -0.72 + rib * 0.165 + 0.32 * np.abs(x) ** 1.5
        found += 0.075 * np.exp(-(((y - height) / 0.022) ** 2)) * chest
    return found


def chest_dicom(*, lowest_white: bool = False) -> bytes:
    """The drawn chest as a film of computed radiography, twelve bits, with a window and a frame of padding.

    Args:
        lowest_white: MONOCHROME1, with inverted values; it shows the same film.
    """
    stored = np.rint(draw_chest() * (WHITE - 400) + 200).astype(np.uint16)
    if lowest_white:
        stored = WHITE - stored
    padding = WHITE if lowest_white else 0
    edge = round(COLUMNS * _FRAME)
    stored[:, :edge] = padding
    stored[:, -edge:] = padding
    dataset = _film_header(lowest_white=lowest_white)
    dataset.PixelPaddingValue = padding
    dataset.PixelData = stored.astype("<u2").tobytes()
    return _write(dataset)


def chest_film() -> bytes:
    """A DICOM film, MONOCHROME2."""
    return chest_dicom()


def chest_film_lowest_white() -> bytes:
    """The same film, MONOCHROME1."""
    return chest_dicom(lowest_white=True)


def chest_picture() -> bytes:
    """The drawn chest as an 8-bit grey PNG."""
    return encode_png(np.rint(draw_chest() * 255).astype(np.uint8))


def chest_series() -> bytes:
    """All of them in a ZIP."""
    return pack_zip(demo_files().items())


def demo_files() -> dict[str, bytes]:
    """All sample films, by name."""
    return {
        "chest-film.dcm": chest_film(),
        "chest-film-monochrome1.dcm": chest_film_lowest_white(),
        "chest-film.png": chest_picture(),
    }


def _film_header(*, lowest_white: bool) -> Dataset:
    """The modules of a CR image (PS3.3 A.2), of nobody."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = f"{_FILM}{1 if lowest_white else 2}"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20250101", "120000", ""
    dataset.Modality, dataset.Manufacturer = "CR", "Facet"
    dataset.ReferringPhysicianName = ""
    dataset.SeriesDescription = "Drawn chest, no patient"
    dataset.PatientName, dataset.PatientID = "Drawn^Chest", "DRAWN-CHEST"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _STUDY, _SERIES
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "", 1, 1 if lowest_white else 2
    dataset.PatientOrientation = ["L", "F"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if lowest_white else "MONOCHROME2"
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.ImagerPixelSpacing = ["0.6", "0.6"]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = "2048", "4096"
    return dataset


def _write(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.315083901845436560997115969044595367248")
    dataset.file_meta = meta
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
