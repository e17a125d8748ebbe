"""The loader of EGD-CXR on generated files of its columns: counts, densities, splits, bad tables, long tables."""

from __future__ import annotations

import csv
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from services.medical.chest_xray.films import prepare_film
from services.medical.chest_xray.training import egd_cxr
from services.medical.chest_xray.training.egd_cxr import (
    BLUR,
    EYE_GAZE,
    FIXATIONS,
    MASTER_SHEET,
    GazeTable,
    Reading,
    count_samples,
    find_film,
    gaze_density,
    read_film,
    read_gazed_films,
    read_master_sheet,
    split_of,
)

MASTER_COLUMNS = (
    "dicom_id", "path", "study_id", "patient_id", "stay_id", "gender", "anchor_age", "image_top_pad",
    "image_bottom_pad", "image_left_pad", "image_right_pad", "normal_reports", "Normal", "CHF", "pneumonia",
    "consolidation", "enlarged_cardiac_silhouette", "cxr_exam_indication",
)  # fmt: skip
GAZE_COLUMNS = (
    "DICOM_ID", "CNT", "Time (in secs)", "TIME_TICK(f=10000000)", "FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGID",
    "FPOGV", "SACCADE_MAG", "SACCADE_DIR", "SESSION_ID", "X_ORIGINAL", "Y_ORIGINAL",
)  # fmt: skip
SIZE = (320, 256)


def write_table(file: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as content:
        writer = csv.DictWriter(content, columns, restval="0")
        writer.writeheader()
        writer.writerows(rows)


def gaze(dicom: str, points: Iterable[tuple[float, float]]) -> list[dict[str, Any]]:
    return [{"DICOM_ID": dicom, "X_ORIGINAL": x, "Y_ORIGINAL": y, "SESSION_ID": 1} for x, y in points]


def write_png(file: Path, shape: tuple[int, int], *, seed: int = 0) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three films of two patients; gaze on two of them, beside rows of the calibration picture."""
    readings = [
        {
            "dicom_id": "a1",
            "path": "files/p10/p100/s1/a1.dcm",
            "patient_id": 100,
            "Normal": 1,
            "cxr_exam_indication": "x, y",
        },
        {"dicom_id": "b2", "path": "files/p10/p100/s2/b2.dcm", "patient_id": 100, "CHF": 1},
        {"dicom_id": "c3", "path": "files/p11/p111/s3/c3.dcm", "patient_id": 111, "pneumonia": "1.0"},
    ]
    write_table(tmp_path / MASTER_SHEET, MASTER_COLUMNS, readings)
    rows = gaze("calibration", [(5, 5)] * 3)
    rows += gaze("b2", [(300, 100)] * 500 + [(-40, 12), (10, 400), (400, 10), (0, 0)])
    rows += gaze("a1", [(20.0, 30.0)] * 7)
    write_table(tmp_path / EYE_GAZE, GAZE_COLUMNS, rows)
    write_table(tmp_path / FIXATIONS, GAZE_COLUMNS, gaze("b2", [(10, 10)]))
    for patient, study, name in (("p10/p100", "s1", "a1"), ("p10/p100", "s2", "b2"), ("p11/p111", "s3", "c3")):
        write_png(tmp_path / "mimic" / patient / study / f"{name}.png", (400, 400))
    return tmp_path


def test_readings_have_one_class_and_patients_one_split(folder: Path) -> None:
    readings = read_master_sheet(folder)
    assert [(one.dicom, one.label) for one in readings] == [("a1", 0), ("b2", 1), ("c3", 2)]
    assert readings[0].split == readings[1].split == split_of("100")


def test_splits_have_their_shares_and_depend_on_the_patient_alone() -> None:
    found = [split_of(str(number)) for number in range(10_000_000, 10_004_000)]
    shares = {name: found.count(name) / len(found) for name in ("train", "val", "test")}
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.025)


def test_films_with_gaze_are_read_one_by_one(folder: Path) -> None:
    found = {one.reading.dicom: one for one in read_gazed_films(folder, folder / "mimic", SIZE)}
    assert set(found) == {"a1", "b2"}, "nobody looked at the third"
    assert (found["b2"].samples, found["b2"].outside) == (501, 3)
    assert (found["a1"].samples, found["a1"].outside) == (7, 0)
    density = found["b2"].density
    assert density.shape == SIZE
    assert density.dtype == np.float32
    assert density.sum() == pytest.approx(1, abs=1e-5)
    row, column = divmod(int(density.argmax()), SIZE[1])
    assert (row, column) == (32 + round(100 * 256 / 400), round(300 * 256 / 400))
    assert [one.reading.dicom for one in read_gazed_films(folder, folder / "mimic", SIZE, table=FIXATIONS)] == ["b2"]
    for split in ("train", "val", "test"):
        chosen = list(read_gazed_films(folder, folder / "mimic", SIZE, split=split))
        assert all(one.reading.split == split for one in chosen)


def test_many_samples_on_one_pixel_are_counted_and_those_outside_dropped() -> None:
    samples = np.array([[3, 2]] * 1000 + [[-1, 0], [0, -1], [5, 0], [0, 4]], np.int32)
    counts = count_samples(samples, (4, 5))
    assert counts[2, 3] == counts.sum() == 1000
    assert counts.dtype == np.int64


def test_the_density_is_a_gaussian_of_the_stated_width() -> None:
    height = 764
    prepared = prepare_film(np.random.default_rng(0).random((height, 612)).astype(np.float32), (height, 612))
    counts = np.zeros((height, 612), np.int64)
    counts[400, 300] = 1000
    density = gaze_density(counts, prepared).astype(np.float64)
    rows, columns = np.arange(height) - 400, np.arange(612) - 300
    deviation = np.sqrt((density.sum(axis=1) * rows**2).sum()), np.sqrt((density.sum(axis=0) * columns**2).sum())
    assert deviation == pytest.approx((BLUR * height,) * 2, rel=0.02)
    assert density.max() == density[400, 300]


def test_a_film_that_nobody_looked_at_has_no_density() -> None:
    prepared = prepare_film(np.eye(64, dtype=np.float32), (64, 64))
    with pytest.raises(ValueError, match="no sample"):
        gaze_density(np.zeros((64, 64), np.int64), prepared)


def test_memory_does_not_grow_with_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egd_cxr, "_BUFFERED", 600)
    peaks = []
    for count in (6_000, 24_000):
        table = tmp_path / "long.csv"
        with table.open("w") as file:
            file.write("DICOM_ID,CNT,X_ORIGINAL,Y_ORIGINAL\n")
            file.writelines(f"film{number * 12 // count},1,{number % 997},{number % 499}\n" for number in range(count))
        tracemalloc.start()
        with GazeTable(table, [f"film{number}" for number in range(11)]) as found:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert len(found.samples("film3")) == count // 12
            assert found.skipped == count // 12
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 2**20


def test_files_of_samples_are_removed_whatever_happens(tmp_path: Path, folder: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with GazeTable(folder / EYE_GAZE, ["b2"], folder=kept) as found:
        assert len(found.samples("b2")) == 504
        assert any(kept.iterdir())
    assert not any(kept.iterdir())
    write_table(tmp_path / "bad.csv", GAZE_COLUMNS, [*gaze("b2", [(1, 1)]), {"DICOM_ID": "b2", "X_ORIGINAL": "left"}])
    with pytest.raises(ValueError, match="no number"):
        GazeTable(tmp_path / "bad.csv", ["b2"], folder=kept)
    assert not any(kept.iterdir())


def test_empty_coordinates_are_skipped(tmp_path: Path) -> None:
    rows = [*gaze("b2", [(1, 1)]), {"DICOM_ID": "b2", "X_ORIGINAL": "", "Y_ORIGINAL": ""}]
    write_table(tmp_path / EYE_GAZE, GAZE_COLUMNS, rows)
    with GazeTable(tmp_path / EYE_GAZE, ["b2"]) as found:
        assert found.skipped == 1
        assert found.samples("b2").tolist() == [[1, 1]]


def test_bad_tables_are_refused_by_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=MASTER_SHEET):
        read_master_sheet(tmp_path)
    write_table(tmp_path / MASTER_SHEET, ("dicom_id", "path", "Normal"), [])
    with pytest.raises(ValueError, match="no column patient_id, CHF, pneumonia"):
        read_master_sheet(tmp_path)
    for marks in ({}, {"Normal": 1, "CHF": 1}):
        write_table(tmp_path / MASTER_SHEET, MASTER_COLUMNS, [{"dicom_id": "a", "patient_id": 1, **marks}])
        with pytest.raises(ValueError, match="not one"):
            read_master_sheet(tmp_path)
    (tmp_path / EYE_GAZE).write_text("DICOM_ID,X_ORIGINAL,Y_ORIGINAL\na,1\n")
    with pytest.raises(ValueError, match="line 2 has 2 cells"):
        GazeTable(tmp_path / EYE_GAZE, ["a"])


def test_films_are_found_by_path_or_name_and_nowhere_else(tmp_path: Path) -> None:
    reading = Reading("a1", "files/p10/p100/s1/a1.dcm", "100", 0, "train")
    with pytest.raises(FileNotFoundError, match="neither"):
        find_film(tmp_path, reading)
    write_png(tmp_path / "a1.png", (8, 8))
    assert find_film(tmp_path, reading) == tmp_path / "a1.png"
    write_png(tmp_path / "p10/p100/s1/a1.png", (8, 8))
    assert find_film(tmp_path, reading) == tmp_path / "p10/p100/s1/a1.png"
    for path in ("../a1.dcm", "/etc/a1.dcm"):
        with pytest.raises(ValueError, match="out of the folder"):
            find_film(tmp_path, Reading("a1", path, "100", 0, "train"))


def write_dicom(file: Path, pixels: NDArray[np.uint16], **elements: Any) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(file, enforce_file_format=True)


def test_dicom_films_are_windowed_before_they_are_inverted(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 256
    write_dicom(tmp_path / "film.dcm", pixels)
    assert read_film(tmp_path / "film.dcm") == pytest.approx(pixels / pixels.max())
    window = {"WindowCenter": 1024.5, "WindowWidth": 2049}
    write_dicom(tmp_path / "film.dcm", pixels, PhotometricInterpretation="MONOCHROME1", **window)
    found = read_film(tmp_path / "film.dcm")
    assert found[0, 0] == 1
    assert (found[2:] == 0).all(), "what is above the window is the darkest, after the inversion"
    assert (np.diff(found.ravel()) <= 0).all()


def test_pictures_of_16_bits_keep_them(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16) + 1000
    Image.fromarray(pixels).save(tmp_path / "film.png")
    found = read_film(tmp_path / "film.png")
    assert len(np.unique(found)) == 256
    assert (found.min(), found.max()) == (0, 1)
