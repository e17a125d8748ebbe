"""Every DICOM file that comes with pydicom, posted as it is and made CT: right answers, or a 4xx that says why."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from shared.imaging.dicom_parsing import quiet
from tests.support.capability import from_npy, npy
from tests.unit.services.medical.low_dose_ct.conftest import CT

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMATS = ("application/json", "application/x-npy", "image/png", "application/dicom")


def files() -> list[Path]:
    """Those of the package itself; others would have to be downloaded."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return sorted(folder.rglob("*.dcm"))


ZOO = files()
if not ZOO:
    pytest.skip("this build of pydicom comes without its test files", allow_module_level=True)


async def enhance(client: httpx.AsyncClient, data: bytes, accept: str, **form: str) -> httpx.Response:
    return await client.post(
        f"{CT}/enhancements", files={"file": ("slice", data)}, data=form, headers={"accept": accept}
    )


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.name)
async def test_every_file_is_answered_in_every_format_or_refused(client: httpx.AsyncClient, path: Path) -> None:
    data = path.read_bytes()  # noqa: ASYNC240 - small, and nothing else runs
    answers = [await enhance(client, data, accept) for accept in FORMATS]
    assert len({answer.status_code for answer in answers}) == 1, [answer.status_code for answer in answers]
    for answer in answers:
        assert answer.status_code in {200, 413, 415, 422}, answer.text
        if answer.status_code != 200:
            assert answer.json()["errors"][0]["pointer"] == "/body/file"


def made_ct(path: Path) -> tuple[bytes, NDArray[Any]] | None:
    """A grey file as a CT slice (slope 0.5, intercept -100) and its stored values by pydicom; None where it is none."""
    try:
        with quiet():
            dataset = pydicom.dcmread(path)
            stored = dataset.pixel_array
    except Exception:  # no pixels, or none that pydicom can decode
        return None
    if stored.ndim != 2 or min(stored.shape) < 8 or dataset.BitsAllocated not in {8, 16}:
        return None
    if dataset.get("PhotometricInterpretation") not in {"MONOCHROME1", "MONOCHROME2"}:
        return None
    with quiet():
        _make_ct(dataset)
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue(), stored


def _make_ct(dataset: Dataset) -> None:
    dataset.Modality, dataset.SOPClassUID = "CT", "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for keyword in ("RescaleType", "PixelPaddingValue", "NumberOfFrames", "ModalityLUTSequence"):
        if keyword in dataset:
            del dataset[keyword]


REFUSED = {
    # Words in swapped pairs of bytes, a format that is refused by name.
    "ExplVR_BigEnd.dcm": 415,
    # Twelve bits of JPEG Extended: only the GPL decoder reads them, and whether it is installed is not ours to say.
    "JPGExtended.dcm": 415,
    # Cut off in the middle of the pixels.
    "MR_truncated.dcm": 422,
}


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.name)
async def test_grey_files_as_slices_are_the_same_as_their_values(client: httpx.AsyncClient, path: Path) -> None:
    """DICOM, NPY of its values, and what comes back of both: one answer."""
    case = made_ct(path)
    if case is None:
        pytest.skip("no grey image of up to 16 bits")
    data, stored = case
    answer = await enhance(client, data, "application/x-npy")
    if path.name in REFUSED and answer.status_code != 200:
        assert answer.status_code == REFUSED[path.name], answer.text
        return
    assert answer.status_code == 200, answer.text
    posted = await enhance(client, npy(stored * 0.5 - 100), "application/x-npy")
    assert posted.status_code == 200, posted.text
    np.testing.assert_allclose(from_npy(answer.content), from_npy(posted.content), atol=1e-3)
    written = await enhance(client, data, "application/dicom")
    assert written.status_code == 200, written.text
    dataset = pydicom.dcmread(io.BytesIO(written.content))
    values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    lowest, highest = (float(end) for end in _ends(dataset))
    expected = np.clip(from_npy(posted.content), lowest, highest)
    np.testing.assert_allclose(values, expected, atol=0.2501)
    assert len(list(dataset.iterall())) > 20


def _ends(dataset: Dataset) -> list[float]:
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    stored = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return [value * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept) for value in stored]
