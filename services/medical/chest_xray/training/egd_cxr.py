"""Measured gaze for those who hold the rights: EGD-CXR 1.0.0 of PhysioNet (Karargyris et al., Sci. Data 2021).

The set and the films of MIMIC-CXR that it is about need credentials and may not be passed on; nothing of them is in
this repository, and no released model has seen them. Read are, by the names of their columns:

- `master_sheet.csv`: `dicom_id`, `path` of the film in MIMIC-CXR, `patient_id`, and 0 or 1 in `Normal`, `CHF` and
  `pneumonia`, one of which is 1;
- `eye_gaze.csv` (or `fixations.csv`, of the same columns): `DICOM_ID`, `X_ORIGINAL` and `Y_ORIGINAL` in pixels of the
  film, negative where the reader looked elsewhere. Rows of the calibration picture name no film.

Gaze is turned into a density as the paper did (paper sheet, section 2), without its faults (section 8, trap 8): samples
are counted per pixel in wide integers, blurred by a Gaussian of 75.5 pixels in 3056 rows, and reduced to the network's
grid by area. `eye_gaze.csv` is read line by line, and a film's samples are kept as pairs of numbers in a file: a
table of any length needs the memory of one film.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from services.medical.chest_xray.films import Prepared, prepare_film
from services.medical.chest_xray.roles import CLASSES

MASTER_SHEET: Final = "master_sheet.csv"
EYE_GAZE: Final = "eye_gaze.csv"
FIXATIONS: Final = "fixations.csv"
COLUMNS: Final = ("Normal", "CHF", "pneumonia")
"""Of the classes, in their order; CHF is a diagnosis here, and `chf_like` no more than its name elsewhere."""

BLUR: Final = 75.5 / 3056
"""Standard deviation of the Gaussian, as a share of the film's rows."""

SHARES: Final = {"train": 0.7, "val": 0.1, "test": 0.2}
"""As in the paper, but by patient."""

_SUFFIXES: Final = (".dcm", ".png", ".jpg", ".jpeg")
_BUFFERED: Final = 1 << 18
"""Samples of all films that are held before they are written."""

_MAX_PIXELS: Final = 40_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One film and how it was diagnosed.

    Attributes:
        dicom: its identifier.
        path: of the film, as the master sheet has it.
        patient: whose it is.
        label: index in `CLASSES`.
        split: train, val or test, the same for all films of a patient.
    """

    dicom: str
    path: str
    patient: str
    label: int
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class GazedFilm:
    """A film with the density of gaze on it.

    Attributes:
        reading: which one.
        prepared: as the network sees it.
        density: float32 (H, W) on the network's grid, sums to 1.
        samples: that lie on the film.
        outside: samples that do not, and are dropped.
    """

    reading: Reading
    prepared: Prepared
    density: NDArray[np.float32]
    samples: int
    outside: int


def read_master_sheet(folder: Path) -> list[Reading]:
    """All readings, by identifier.

    Args:
        folder: of EGD-CXR.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a column is missing, or a film has none or several of the classes.
    """
    readings = []
    for row in _rows(folder / MASTER_SHEET, ("dicom_id", "path", "patient_id", *COLUMNS)):
        marked = [index for index, name in enumerate(COLUMNS) if float(row[name] or 0) == 1]
        if len(marked) != 1:
            raise ValueError(f"{MASTER_SHEET}: a film has {len(marked)} of the classes {', '.join(COLUMNS)}, not one")
        patient = row["patient_id"]
        readings.append(Reading(row["dicom_id"], row["path"], patient, marked[0], split_of(patient)))
    return sorted(readings, key=lambda one: one.dicom)


def split_of(patient: str) -> str:
    """The split of a patient: by a hash of the number, so that it depends on nothing else."""
    place = int.from_bytes(hashlib.sha256(f"egd-cxr/{patient}".encode()).digest()[:8], "big") / 2**64
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return [*SHARES][-1]


class GazeTable:
    """Samples of all films out of a table of any length; a context manager that removes its files.

    Args:
        table: `eye_gaze.csv` or `fixations.csv`.
        wanted: identifiers of films; rows of all others are skipped.
        folder: for files, 8 bytes for each sample; a temporary one by default.

    Raises:
        FileNotFoundError: the table is not there.
        ValueError: a column is missing, or a coordinate is no number.
    """

    def __init__(self, table: Path, wanted: Sequence[str], *, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gaze-", dir=folder))
        self._numbers = {name: number for number, name in enumerate(wanted)}
        try:
            self.skipped = self._read(table)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> GazeTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def samples(self, dicom: str) -> NDArray[np.int32]:
        """Pixels that were looked at, (n, 2) as column and row, also those that lie outside of the film."""
        file = self._file(self._numbers[dicom])
        if not file.exists():
            return np.zeros((0, 2), np.int32)
        return np.fromfile(file, np.int32).reshape(-1, 2)

    def _read(self, table: Path) -> int:
        pending: dict[int, list[int]] = {}
        held = skipped = 0
        for row in _rows(table, ("DICOM_ID", "X_ORIGINAL", "Y_ORIGINAL")):
            number = self._numbers.get(row["DICOM_ID"])
            if number is None or not (row["X_ORIGINAL"] and row["Y_ORIGINAL"]):
                skipped += 1
                continue
            pending.setdefault(number, []).extend((_pixel(row["X_ORIGINAL"]), _pixel(row["Y_ORIGINAL"])))
            held += 1
            if held == _BUFFERED:
                self._write(pending)
                held = 0
        self._write(pending)
        return skipped

    def _write(self, pending: dict[int, list[int]]) -> None:
        for number, values in pending.items():
            with self._file(number).open("ab") as file:
                np.array(values, np.int32).tofile(file)
        pending.clear()

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.bin"


def _pixel(text: str) -> int:
    """The pixel of a coordinate; the table of 1.0.0 has whole numbers, some as decimals."""
    try:
        value = float(text)
        return int(np.floor(min(max(value, -(2.0**30)), 2.0**30)))
    except ValueError:
        raise ValueError("a coordinate of gaze is no number") from None


def _rows(file: Path, columns: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Rows as mappings of the wanted columns alone.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: a column is missing, or a row is too short.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file.name} is not in {file.parent}: EGD-CXR 1.0.0 is read from there")
    with file.open(encoding="utf-8-sig", newline="") as content:
        lines = csv.reader(content)
        head = next(lines, [])
        if missing := [name for name in columns if name not in head]:
            raise ValueError(f"{file.name} has no column {', '.join(missing)}")
        places = [(name, head.index(name)) for name in columns]
        for number, line in enumerate(lines, start=2):
            if len(line) < len(head):
                raise ValueError(f"{file.name}: line {number} has {len(line)} cells, not {len(head)}")
            yield {name: line[place] for name, place in places}


def count_samples(samples: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int64]:
    """How often each pixel was looked at, int64 (rows, columns); samples outside are dropped.

    Args:
        samples: (n, 2), column and row.
        shape: rows and columns of the film.
    """
    columns, rows = samples[:, 0].astype(np.int64), samples[:, 1].astype(np.int64)
    inside = (columns >= 0) & (columns < shape[1]) & (rows >= 0) & (rows < shape[0])
    flat = rows[inside] * shape[1] + columns[inside]
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def gaze_density(counts: NDArray[np.int64], prepared: Prepared) -> NDArray[np.float32]:
    """The density on the network's grid: blurred on the film's, reduced by area, summing to 1.

    Args:
        counts: of `count_samples`, one above 0 at least.
        prepared: the film.

    Raises:
        ValueError: nobody looked at the film.
    """
    if counts.sum() == 0:
        raise ValueError("no sample of gaze lies on the film")
    # Outside of the film there is nothing to see: what is blurred past the edge is lost, as with zeros around it.
    blurred = gaussian_filter(counts.astype(np.float32), BLUR * counts.shape[0], mode="constant", truncate=250 / 75.5)
    return prepared.to_network_grid(blurred)


def read_gazed_films(
    folder: Path, films: Path, size: tuple[int, int], *, split: str | None = None, table: str = EYE_GAZE
) -> Iterator[GazedFilm]:
    """Films with the density of gaze on them, one after the other.

    Args:
        folder: of EGD-CXR.
        films: of MIMIC-CXR, or of its JPEG or PNG versions, under the paths of the master sheet or the ends of these;
            or one folder of files that are called by their identifiers.
        size: H and W of the network.
        split: one alone, by default all.
        table: `EYE_GAZE` or `FIXATIONS`.

    Raises:
        FileNotFoundError: a table or a film is not there.
        ValueError: a table is not as described.
    """
    readings = [one for one in read_master_sheet(folder) if split in {None, one.split}]
    with GazeTable(folder / table, [one.dicom for one in readings]) as gaze:
        for reading in readings:
            samples = gaze.samples(reading.dicom)
            pixels = read_film(find_film(films, reading))
            counts = count_samples(samples, (pixels.shape[0], pixels.shape[1]))
            if (found := int(counts.sum())) == 0:
                continue  # the reader's gaze was lost on the whole film
            prepared = prepare_film(pixels, size)
            yield GazedFilm(reading, prepared, gaze_density(counts, prepared), found, len(samples) - found)


def find_film(films: Path, reading: Reading) -> Path:
    """The file of a film.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the master sheet's path leads elsewhere.
    """
    parts = Path(reading.path).parts
    if ".." in parts or Path(reading.path).is_absolute():
        raise ValueError(f"{MASTER_SHEET}: a path of a film leads out of the folder")
    for start in range(len(parts)):
        for suffix in _SUFFIXES:
            if (file := films.joinpath(*parts[start:]).with_suffix(suffix)).is_file():
                return file
    for suffix in _SUFFIXES:
        if (file := films / f"{reading.dicom}{suffix}").is_file():
            return file
    raise FileNotFoundError(f"a film of {MASTER_SHEET} is neither under its path nor its identifier in {films}")


def read_film(file: Path) -> NDArray[np.float32]:
    """Grey values float32 (h, w) in [0, 1], bones white.

    A DICOM file goes through modality LUT, VOI LUT or window, and inversion of MONOCHROME1, in this order; a picture of
    16 bits keeps them.

    Raises:
        ValueError: it has no single grey picture, or too large a one.
    """
    if file.suffix == ".dcm":
        values = _read_dicom(file)
    else:
        with Image.open(file, formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError("a film is larger than any of MIMIC-CXR")
            grey = image if image.mode in {"I;16", "I"} else image.convert("L")
            values = np.asarray(grey, np.float32)
    low, high = float(values.min()), float(values.max())
    return np.zeros(values.shape, np.float32) if high <= low else ((values - low) / (high - low)).astype(np.float32)


def _read_dicom(file: Path) -> NDArray[np.float32]:
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    dataset = pydicom.dcmread(file)
    stored: NDArray[Any] = dataset.pixel_array
    if stored.ndim != 2 or stored.size > _MAX_PIXELS:
        raise ValueError("a film has one grey picture, no larger than any of MIMIC-CXR")
    values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(np.float32)
    return values.max() - values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


assert len(COLUMNS) == len(CLASSES)  # noqa: S101 - indices of one are used for the other
