"""Nothing that is tested on is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.medical.low_dose_ct.training.chest import SECOND_OF_DUPLICATES, chest_slices, read_truth
from services.medical.low_dose_ct.training.photographs import held_out_files, training_files
from services.medical.low_dose_ct.training.photographs import read_grayscale as read
from shared.settings import Settings

DATA = Settings().data
needs_data = pytest.mark.skipif(not (DATA / "ct/manifest.csv").exists(), reason="FACET_DATA names no data folder")


def write_manifest(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    (folder / "ct").mkdir()
    lines = ["file,patient_id,manufacturer,kernel,split"] + [
        f"{file},{who},GE,SOFT,{split}" for file, who, split in rows
    ]
    (folder / "ct/manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_duplicates_are_left_out_and_patients_can_be_limited(tmp_path: Path) -> None:
    rows = [("ID_0098_X.dcm", "b", "train"), ("ID_0099_X.dcm", "b", "train"), ("ID_0001_X.dcm", "a", "train")]
    data = write_manifest(tmp_path, [*rows, ("ID_0002_X.dcm", "c", "test")])
    assert [each.path.name for each in chest_slices(data, "train")] == ["ID_0098_X.dcm", "ID_0001_X.dcm"]
    assert [each.patient for each in chest_slices(data, "train", patients=1)] == ["a"]
    assert [each.patient for each in chest_slices(data, "test")] == ["c"]


def test_absent_photographs_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="FACET_DATA"):
        training_files(tmp_path)


@pytest.mark.data
@needs_data
def test_no_patient_is_in_two_splits() -> None:
    patients = [{each.patient for each in chest_slices(DATA, split)} for split in ("train", "val", "test")]
    assert all(patients)
    assert sum(map(len, patients)) == len(set.union(*patients))


@pytest.mark.data
@needs_data
def test_no_duplicate_file_is_kept() -> None:
    names = [each.path.name for split in ("train", "val", "test") for each in chest_slices(DATA, split)]
    assert len(names) == 77
    assert not [name for name in names if name.startswith(SECOND_OF_DUPLICATES)]


@pytest.mark.data
@needs_data
def test_a_slice_is_read_the_same_way_each_time() -> None:
    path = chest_slices(DATA, "test")[0].path
    truth = read_truth(path)
    assert truth.shape == (362, 362)
    assert truth.min() >= 0
    assert truth.max() <= 1
    assert np.array_equal(truth, read_truth(path))


@pytest.mark.data
@needs_data
def test_no_photograph_of_bsd68_is_trained_on() -> None:
    def thumbnails(paths: list[Path]) -> np.ndarray:
        small = [(image if image.shape[0] < image.shape[1] else image.T)[8::16, 8::16] for image in map(read, paths)]
        flat = np.stack(small).reshape(len(small), -1)
        centred = flat - flat.mean(axis=1, keepdims=True)
        return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))

    trained, tested = training_files(DATA), held_out_files(DATA, "bsd68")
    assert (len(trained), len(tested)) == (400, 68)
    assert float((thumbnails(tested) @ thumbnails(trained).T).max()) < 0.97
