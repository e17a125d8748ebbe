"""The sample films are valid, the same each time, and what their names say."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from services.medical.chest_xray import demo
from tests.unit.services.medical.chest_xray.conftest import FILM, FILM_LOWEST_WHITE, PICTURE
from tests.unit.services.medical.chest_xray.test_dicom_writing import DCIODVFY, errors


def test_files_are_the_same_each_time() -> None:
    assert (demo.chest_film(), demo.chest_picture()) == (FILM, PICTURE)
    with zipfile.ZipFile(io.BytesIO(demo.chest_series())) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == demo.demo_files()


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian's package dicom3tools) is not installed")
@pytest.mark.parametrize("data", [FILM, FILM_LOWEST_WHITE], ids=["MONOCHROME2", "MONOCHROME1"])
def test_films_are_valid(data: bytes, tmp_path: Path) -> None:

    assert errors(data, tmp_path) == []


def test_films_are_of_nobody_and_twelve_bits() -> None:
    film = pydicom.dcmread(io.BytesIO(FILM))
    assert (film.BitsStored, film.PatientID, film.PatientBirthDate) == (12, "DRAWN-CHEST", "")
    assert 0 <= int(film.pixel_array.min()) <= int(film.pixel_array.max()) <= demo.WHITE


def test_lungs_are_darker_than_what_is_around_them_and_the_heart_is_at_the_right() -> None:
    drawn = demo.draw_chest(320, 256)
    lungs, spine = drawn[130:180, 60:90].mean(), drawn[130:180, 124:132].mean()
    assert lungs < spine - 0.3
    assert drawn[200:230, 140:170].mean() > drawn[200:230, 86:116].mean() + 0.05
    assert np.array_equal(drawn, demo.draw_chest(320, 256))
