"""The demonstration files are what the CT routes read, and tell of no patient."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest

from services.medical.low_dose_ct.demo import demo_files, main
from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from shared.imaging.dicom import read_ct
from tests.support.capability import from_npy
from tests.unit.services.medical.low_dose_ct.conftest import CT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return demo_files()


def hu_of(data: bytes) -> np.ndarray:
    return read_ct(data, limit_pixels=362 * 362).hu


async def test_files_show_one_slice(files: dict[str, bytes]) -> None:
    assert set(files) == {"normal-dose.npy", "normal-dose.dcm", "low-dose-sinogram.npy", "low-dose.dcm"}
    normal = from_npy(files["normal-dose.npy"])
    np.testing.assert_allclose(hu_of(files["normal-dose.dcm"]), np.clip(normal, -1024, None), atol=0.5)
    sinogram = from_npy(files["low-dose-sinogram.npy"])
    assert sinogram.shape == (1000, 513)
    assert sinogram.dtype == np.float32
    noisy = attenuation_to_hu(filtered_back_projection(sinogram))
    np.testing.assert_allclose(hu_of(files["low-dose.dcm"]), np.clip(noisy, -1024, None), atol=0.5)
    assert np.corrcoef(noisy.ravel(), normal.ravel())[0, 1] > 0.9, "both the same way up"


async def test_same_seed_same_arrays(files: dict[str, bytes]) -> None:
    assert demo_files()["low-dose-sinogram.npy"] == files["low-dose-sinogram.npy"]
    assert demo_files(seed=8)["normal-dose.npy"] != files["normal-dose.npy"]


async def test_no_patient_in_the_dicom_files(files: dict[str, bytes]) -> None:
    for name in ("normal-dose.dcm", "low-dose.dcm"):
        dataset = pydicom.dcmread(io.BytesIO(files[name]))
        assert not dataset.PatientName
        assert "no patient" in dataset.DerivationDescription


async def test_command_writes_the_files(files: dict[str, bytes], tmp_path: Path) -> None:
    main(tmp_path / "demo")
    assert {path.name for path in (tmp_path / "demo").iterdir()} == set(files)


async def test_routes_take_the_files(client: httpx.AsyncClient, files: dict[str, bytes]) -> None:
    answer = await client.post(
        f"{CT}/reconstructions",
        files={"file": ("s.npy", files["low-dose-sinogram.npy"]), "reference": ("n.npy", files["normal-dose.npy"])},
    )
    assert answer.status_code == 200
    compared = answer.json()["comparison"]
    assert compared["before"]["psnr_db"] > 28, "the scan is of the slice that the reference shows"
    answer = await client.post(f"{CT}/enhancements", files={"file": ("low-dose.dcm", files["low-dose.dcm"])})
    assert answer.status_code == 200
