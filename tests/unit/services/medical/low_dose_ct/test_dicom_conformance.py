"""dciodvfy, the validator of dicom3tools, finds nothing in our answers that their source did not have."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pydicom
import pytest

from services.medical.low_dose_ct.demo import low_dose_slice
from tests.support.capability import npy
from tests.unit.services.medical.low_dose_ct.conftest import CT, SMALL_FORM, sinogram
from tests.unit.services.medical.low_dose_ct.test_dicom_zoo import ZOO, enhance, made_ct

DCIODVFY = shutil.which("dciodvfy")
if DCIODVFY is None:
    pytest.skip("dciodvfy (Debian's package dicom3tools) is not installed", allow_module_level=True)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def errors(data: bytes, folder: Path) -> set[str]:
    """What dciodvfy calls an error; UIDs, which differ, are left out."""
    file = folder / "object.dcm"
    file.write_bytes(data)
    command = [str(DCIODVFY), str(file)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    return {re.sub(r"\d+(\.\d+)+", "UID", line).strip() for line in lines if "Error - " in line}


async def test_an_error_is_found_where_there_is_one(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(low_dose_slice()))
    del dataset.SOPInstanceUID
    path = tmp_path / "broken.dcm"
    dataset.save_as(path)
    assert errors(path.read_bytes(), tmp_path)


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.name)
async def test_a_derived_slice_has_no_error_of_its_own(client: httpx.AsyncClient, path: Path, tmp_path: Path) -> None:
    case = made_ct(path)
    if case is None:
        pytest.skip("no grey image of up to 16 bits")
    answer = await enhance(client, case[0], "application/dicom")
    if answer.status_code != 200:
        pytest.skip("refused, as test_dicom_zoo says")
    of_source = errors(case[0], tmp_path)
    if any("read failed" in error for error in of_source):
        pytest.skip("dciodvfy cannot read the source")
    assert errors(answer.content, tmp_path) <= of_source


async def test_a_slice_of_an_image_without_a_source_has_none(client: httpx.AsyncClient, tmp_path: Path) -> None:
    made = low_dose_slice()
    assert errors(made, tmp_path) == set()
    answer = await enhance(client, made, "application/dicom")
    assert errors(answer.content, tmp_path) == set()


async def test_a_reconstruction_has_none(client: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = await client.post(
        f"{CT}/reconstructions",
        files={"file": ("scan.npy", npy(sinogram()))},
        data=SMALL_FORM,
        headers={"accept": "application/dicom"},
    )
    assert answer.status_code == 200, answer.text
    assert errors(answer.content, tmp_path) == set()
