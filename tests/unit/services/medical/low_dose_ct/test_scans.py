"""Simulated scans over HTTP: whose physics they follow, what decides them, which way up they are."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from tests.support.capability import from_npy, npy
from tests.unit.services.medical.low_dose_ct.conftest import CT, slice_hu

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON, PNG, NPY, DICOM = "application/json", "image/png", "application/x-npy", "application/dicom"


def picture(answer: httpx.Response) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(answer.content), formats=["PNG"]) as image:
        return np.asarray(image)


async def simulate(
    client: httpx.AsyncClient, accept: str = NPY, data: bytes | None = None, **form: str
) -> httpx.Response:
    files = None if data is None else {"file": ("slice", data)}
    # Without a file httpx would send a urlencoded form, which the route reads as well.
    answer = await client.post(f"{CT}/simulations", files=files, data=form, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


async def test_simulated_scan_comes_back_the_way_up_that_the_slice_was(client: httpx.AsyncClient) -> None:
    """The slice has a bone up and to the left; no turn or mirror of it would agree."""
    scan = from_npy((await simulate(client, data=npy(slice_hu()), noise="false")).content)
    answer = await client.post(
        f"{CT}/reconstructions",
        files={"file": ("scan.npy", npy(scan))},
        data={"image_size": "48", "denoise": "false"},
        headers={"Accept": NPY},
    )
    hu = from_npy(answer.content)
    agreement = {
        (turns, mirrored): np.corrcoef(np.rot90(hu.T if mirrored else hu, turns).ravel(), slice_hu().ravel())[0, 1]
        for turns in range(4)
        for mirrored in (False, True)
    }
    assert max(agreement, key=lambda key: agreement[key]) == (0, False)
    assert agreement[0, False] > 0.95
    inside = np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 10
    assert np.abs(hu[inside].mean() - slice_hu()[inside].mean()) < 10


async def test_phantom_is_scanned_without_a_file(client: httpx.AsyncClient) -> None:
    described = (await simulate(client, JSON, phantom="chest", seed="5")).json()
    assert described["shape"] == [1000, 513]
    assert (described["photons"], described["seed"], described["noise"]) == (4096, 5, True)
    assert described["geometry"]["image_shape"] == [362, 362]
    assert 0 <= described["starved_fraction"] < 0.5
    assert 0.05 < described["maximum"] < 0.5


async def test_seed_decides_the_noise_and_units_differ_by_the_largest_attenuation(client: httpx.AsyncClient) -> None:
    posted = npy(slice_hu())
    first = from_npy((await simulate(client, data=posted, seed="1")).content)
    again = from_npy((await simulate(client, data=posted, seed="1", sinogram_unit="line-integral")).content)
    other = from_npy((await simulate(client, data=posted, seed="2")).content)
    np.testing.assert_allclose(again, first * 81.35858, rtol=1e-5)
    assert (first != other).mean() > 0.5


async def test_noise_is_that_of_the_photons(client: httpx.AsyncClient) -> None:
    """A count N of mean n gives -ln N a standard deviation of 1 / sqrt(n), and a mean above by 1 / (2 n)."""
    posted, photons = npy(np.full((48, 48), -1000.0)), 2000
    clean = from_npy((await simulate(client, data=posted, noise="false", sinogram_unit="line-integral")).content)
    noisy = from_npy((await simulate(client, data=posted, photons=str(photons), sinogram_unit="line-integral")).content)
    pull = (noisy - clean) * np.sqrt(photons * np.exp(-clean.astype(np.float64)))
    assert pull.std() == pytest.approx(1, abs=0.02)
    assert pull.mean() == pytest.approx(0.5 / np.sqrt(photons), abs=0.01)


async def test_fewer_photons_starve_more_readings(client: httpx.AsyncClient) -> None:
    posted = npy(np.full((48, 48), 1500.0))
    shares = [
        (await simulate(client, JSON, posted, photons=photons)).json()["starved_fraction"]
        for photons in ("30", "10000")
    ]
    assert shares[0] > shares[1]


async def test_full_slice_is_cut_to_the_field_of_view(client: httpx.AsyncClient) -> None:
    hu = chest_phantom(np.random.default_rng(0))
    assert hu.shape == (512, 512)
    whole = from_npy((await simulate(client, data=npy(hu), noise="false")).content)
    middle = from_npy((await simulate(client, data=npy(hu[75:437, 75:437]), noise="false")).content)
    np.testing.assert_array_equal(whole, middle)


async def test_scan_as_picture(client: httpx.AsyncClient) -> None:
    shown = picture(await simulate(client, PNG, npy(slice_hu())))
    assert shown.shape == (1000, 513)
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize(
    ("array", "form", "pointer", "word"),
    [
        (np.zeros((48, 40)), {}, "/body/file", "square"),
        (np.zeros((1001, 1001)), {}, "/body/file", "at most 1000"),
        (np.zeros((48, 48)), {"phantom": "chest"}, "/body/phantom", "one of the two"),
        (None, {}, "/body", "phantom=chest"),
        (None, {"phantom": "head"}, "/body/phantom", "chest"),
        (None, {"phantom": "chest", "photons": "0"}, "/body/photons", "greater"),
        (None, {"phantom": "chest", "seed": "-1"}, "/body/seed", "greater"),
    ],
)
async def test_scan_that_cannot_be_simulated(
    client: httpx.AsyncClient, array: NDArray[np.float64] | None, form: dict[str, str], pointer: str, word: str
) -> None:
    files = None if array is None else {"file": ("slice.npy", npy(array))}
    answer = await client.post(f"{CT}/simulations", files=files, data=form)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert word in answer.text


async def test_dicom_answer_of_a_scan_is_not_acceptable(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{CT}/simulations", data={"phantom": "chest"}, headers={"Accept": DICOM})
    assert answer.status_code == 406
