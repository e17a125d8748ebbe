"""The service with its released weights: what a user gets who follows the README."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
import pytest_asyncio

from services.medical.app import create_app
from services.medical.low_dose_ct.demo import demo_files
from shared.imaging.dicom import read_ct
from shared.runtime.cards import CARD_FILE
from shared.settings import Settings
from tests.support.capability import from_npy, npy
from tests.support.serving import running, until_models_are_open
from tests.unit.services.medical.low_dose_ct.conftest import CT

MODELS = Path(__file__).parents[5] / "services/medical/models"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        not list(MODELS.glob(f"low-dose-ct/*/{CARD_FILE}")), reason="services/medical/models/low-dose-ct is not there"
    ),
]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return demo_files()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def released(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    blobs = tmp_path_factory.mktemp("blobs")
    settings = Settings(redis_url="redis://127.0.0.1:1/0", blob_url=str(blobs), models=None)
    async with running(create_app(settings)) as started:
        await until_models_are_open(started)
        yield started


async def test_models_are_ready(released: httpx.AsyncClient) -> None:
    assert (await released.get("/health/ready")).json()["checks"]["models"] == "ok"
    names = {card["name"] for card in (await released.get("/v1/models")).json()["models"]}
    assert names >= {"low-dose-ct", "gaussian-denoiser"}


async def test_network_brings_a_low_dose_scan_closer_to_the_normal_dose(
    released: httpx.AsyncClient, files: dict[str, bytes]
) -> None:
    posted = {"file": ("s.npy", files["low-dose-sinogram.npy"]), "reference": ("n.npy", files["normal-dose.npy"])}
    answer = (await released.post(f"{CT}/reconstructions", files=posted)).json()
    compared = answer["comparison"]
    assert compared["after"]["psnr_db"] > compared["before"]["psnr_db"] + 1
    assert compared["after"]["ssim"] > compared["before"]["ssim"]
    assert answer["after"]["noise_hu"] < answer["before"]["noise_hu"] / 2
    assert abs(answer["mean_change_hu"]) < 10


async def test_tuned_network_beats_the_untuned_one_on_ct(released: httpx.AsyncClient, files: dict[str, bytes]) -> None:
    psnr = {}
    for model in ("low-dose-ct", "gaussian-denoiser"):
        posted = {"file": ("l.dcm", files["low-dose.dcm"]), "reference": ("n.dcm", files["normal-dose.dcm"])}
        answer = await released.post(f"{CT}/enhancements", files=posted, data={"model": model})
        psnr[model] = answer.json()["comparison"]["after"]["psnr_db"]
    assert psnr["low-dose-ct"] > psnr["gaussian-denoiser"]


@pytest.mark.parametrize("accept", ["application/json", "application/x-npy", "image/png", "application/dicom"])
async def test_slice_that_needs_no_help_is_answered_as_it_is_and_every_format_says_so(
    released: httpx.AsyncClient, files: dict[str, bytes], accept: str
) -> None:
    posted = files["normal-dose.dcm"]
    answer = await released.post(f"{CT}/enhancements", files={"file": posted}, headers={"Accept": accept})
    said = "is below what the network was tuned for: the image is answered as it is."
    if accept == "application/json":
        described = answer.json()
        assert (described["network_share"], described["noise_level"]) == (0, None)
        assert 0 <= described["image_noise_hu"] < 28
        assert described["caveats"][0].endswith(said)
        assert described["after"] == described["before"]
        return
    assert answer.headers["Facet-Notice"].startswith("Research use only, not a medical device. The noise of this image")
    assert answer.headers["Facet-Notice"].endswith(said)
    if accept == "application/x-npy":
        source = read_ct(posted, limit_pixels=10**6).hu
        np.testing.assert_allclose(from_npy(answer.content), source, atol=1e-3)
    if accept == "application/dicom":
        before, after = (pydicom.dcmread(io.BytesIO(content)) for content in (posted, answer.content))
        np.testing.assert_array_equal(after.pixel_array, before.pixel_array)
        assert after.ImageComments.endswith(said)
        assert "Left as it is by low-dose-ct" in after.DerivationDescription
        assert "DerivationCodeSequence" not in after


async def test_stated_noise_decides_how_much_of_the_network_is_given(
    released: httpx.AsyncClient, files: dict[str, bytes]
) -> None:
    noisy = read_ct(files["low-dose.dcm"], limit_pixels=10**6).hu

    async def change(said: str, **form: str) -> float:
        """Root mean square of what is changed, HU; the notice ends in what is said."""
        posted, accept = {"file": ("s.dcm", files["low-dose.dcm"])}, {"Accept": "application/x-npy"}
        got = await released.post(f"{CT}/enhancements", files=posted, data=form, headers=accept)
        assert got.headers["Facet-Notice"].endswith(said)
        after = from_npy(got.content)
        assert after.min() >= -1024
        return float(np.sqrt(np.mean((after - noisy) ** 2)))

    whole = await change("not a medical device.")
    assert await change("is answered as it is.", noise_level="0.001") < 1e-3
    half = await change("the answer is 50% network and the rest input.", noise_level="0.00835")
    assert 0.2 * whole < half < 0.7 * whole


async def test_network_is_fed_the_noise_that_is_found_or_stated(
    released: httpx.AsyncClient, files: dict[str, bytes]
) -> None:
    async def described(**form: str) -> dict[str, float]:
        posted = {"file": ("s.dcm", files["low-dose.dcm"])}
        answer = (await released.post(f"{CT}/enhancements", files=posted, data=form)).json()
        return {name: answer[name] for name in ("noise_level", "image_noise_hu", "network_share")}

    found = await described()
    assert found["network_share"] == 1
    assert found["noise_level"] == pytest.approx(found["image_noise_hu"] * 0.01998 / 81.35858, rel=1e-4)
    assert (await described(noise_level="0.02"))["noise_level"] == pytest.approx(0.02)
    assert (await described(noise_level="0.5"))["noise_level"] == pytest.approx(
        0.0982, abs=1e-4
    )  # the largest it knows


@pytest.mark.parametrize("shape", [(8, 8), (37, 50), (129, 64)])
async def test_slices_of_any_size(released: httpx.AsyncClient, shape: tuple[int, int]) -> None:
    noisy = np.random.default_rng(2).normal(40, 100, shape).astype(np.float32)
    answer = await released.post(
        f"{CT}/enhancements", files={"file": ("s.npy", npy(noisy))}, headers={"Accept": "application/x-npy"}
    )
    hu = from_npy(answer.content)
    assert hu.shape == shape
    assert hu.std() < noisy.std()
