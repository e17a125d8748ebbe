"""The CT routes over HTTP: each way to ask for an answer, and what every answer says about itself."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from services.medical.low_dose_ct import routes
from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu, hu_to_attenuation
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB
from services.medical.low_dose_ct.reconstruction.projector import forward_project
from services.medical.low_dose_ct.schemas import DISCLAIMER
from shared.imaging.dicom_writing import new_ct
from shared.imaging.windows import apply_window, parse_window, render_png
from tests.support.capability import from_npy, npy
from tests.support.tiny_models import mean_of_neighbours
from tests.unit.services.medical.low_dose_ct.conftest import CT, SMALL_FORM, SMALL_SCAN, sinogram, slice_hu

pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG, NPY, DICOM, JSON = "image/png", "application/x-npy", "application/dicom", "application/json"


def slice_dicom(**attributes: Any) -> bytes:
    data = new_ct(slice_hu(), spacing_mm=(0.7, 0.8), series_description="Scan", derivation="none")
    dataset = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    changed = io.BytesIO()
    dataset.save_as(changed)
    return changed.getvalue()


def expected_reconstruction() -> NDArray[np.float32]:
    """HU of the small scan after filtered back-projection and the 3x3 mean."""
    return attenuation_to_hu(mean_of_neighbours(filtered_back_projection(sinogram(), SMALL_SCAN, filter_name="hann")))


def expected_enhancement() -> NDArray[np.float32]:
    return attenuation_to_hu(mean_of_neighbours(hu_to_attenuation(slice_hu(), clip=False)))


async def reconstruct(
    client: httpx.AsyncClient, accept: str = JSON, *, reference: bytes | None = None, **form: str
) -> httpx.Response:
    files = {"file": ("scan.npy", npy(sinogram()))}
    files |= {} if reference is None else {"reference": ("reference", reference)}
    answer = await client.post(f"{CT}/reconstructions", files=files, data=SMALL_FORM | form, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


async def enhance(
    client: httpx.AsyncClient, data: bytes, accept: str = JSON, *, reference: bytes | None = None, **form: str
) -> httpx.Response:
    files = {"file": ("slice", data)}
    files |= {} if reference is None else {"reference": ("reference", reference)}
    answer = await client.post(f"{CT}/enhancements", files=files, data=form, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


def picture(answer: httpx.Response) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(answer.content), formats=["PNG"]) as image:
        assert image.mode == "L"
        return np.asarray(image)


def stored_hu(data: bytes) -> tuple[pydicom.Dataset, NDArray[np.float64]]:
    dataset = pydicom.dcmread(io.BytesIO(data))
    return dataset, dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


async def test_reconstruction_described(client: httpx.AsyncClient) -> None:
    described = (await reconstruct(client, filter="hamming", frequency_scaling="0.5", ramp="half-bin-shifted")).json()
    assert described["filtering"].pop("scaling").startswith("pi / angles * sum over angles")
    assert described["filtering"] == {"filter": "hamming", "frequency_scaling": 0.5, "ramp": "half-bin-shifted"}
    assert described["geometry"]["angles"] == 60
    assert described["geometry"]["detectors"] == 71
    assert described["geometry"]["image_shape"] == described["shape"] == [48, 48]
    assert described["geometry"]["pixel_size_m"] == pytest.approx(0.26 / 48)
    constants = described["constants"]
    assert (constants["mu_water_per_m"], constants["mu_air_per_m"]) == (20.0, 0.02)
    assert constants["mu_max_per_m"] == pytest.approx(81.35858)
    assert "mu_water" in constants["hu_conversion"]
    assert "not a medical device" in described["disclaimer"]
    assert described["comparison"] is None


async def test_statistics_are_those_of_the_two_images(client: httpx.AsyncClient) -> None:
    described = (await reconstruct(client)).json()
    before = attenuation_to_hu(filtered_back_projection(sinogram(), SMALL_SCAN, filter_name="hann"))
    for name, hu in (("before", before), ("after", expected_reconstruction())):
        assert described[name]["minimum_hu"] == pytest.approx(hu.min(), abs=0.1)
        assert described[name]["maximum_hu"] == pytest.approx(hu.max(), abs=0.1)
        assert described[name]["mean_hu"] == pytest.approx(hu.mean(), abs=0.1)
    change = expected_reconstruction().mean() - before.mean()
    assert described["mean_change_hu"] == pytest.approx(change, abs=0.1)
    assert described["after"]["noise_hu"] < described["before"]["noise_hu"]


async def test_reconstruction_as_array_in_both_units(client: httpx.AsyncClient) -> None:
    expected = expected_reconstruction()
    hu = from_npy((await reconstruct(client, NPY)).content)
    assert hu.dtype == np.float32
    np.testing.assert_allclose(hu, expected, atol=0.1)
    normalised = from_npy((await reconstruct(client, NPY, unit="normalised")).content)
    np.testing.assert_allclose(attenuation_to_hu(normalised), expected, atol=0.1)


@pytest.mark.parametrize("window", ["lung", "bone", "40,400"])
async def test_reconstruction_as_windowed_picture(client: httpx.AsyncClient, window: str) -> None:
    hu = from_npy((await reconstruct(client, NPY)).content)
    shown = picture(await reconstruct(client, PNG, window=window))
    np.testing.assert_array_equal(shown, apply_window(hu, parse_window(window)))
    assert shown.min() < shown.max()


async def test_reconstruction_as_new_dicom_object(client: httpx.AsyncClient) -> None:
    first, second = [stored_hu((await reconstruct(client, DICOM)).content) for _ in range(2)]
    np.testing.assert_allclose(first[1], np.clip(expected_reconstruction(), -1024, None), atol=0.6)
    assert [float(spacing) for spacing in first[0].PixelSpacing] == pytest.approx([260 / 48] * 2)
    assert first[0].Modality == "CT"
    assert not first[0].PatientName
    for uid in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert first[0][uid].value != second[0][uid].value


async def test_without_network_the_answer_is_the_back_projection(client: httpx.AsyncClient) -> None:
    described = (await reconstruct(client, denoise="false")).json()
    assert (described["model"], described["noise_level"], described["mean_change_hu"]) == (None, None, 0)
    answer = await reconstruct(client, NPY, denoise="false", filter="ram-lak")
    expected = attenuation_to_hu(filtered_back_projection(sinogram(), SMALL_SCAN, filter_name="ram-lak"))
    np.testing.assert_allclose(from_npy(answer.content), expected, atol=0.1)
    assert "Facet-Model" not in answer.headers


async def test_physical_line_integrals_give_the_same_slice(client: httpx.AsyncClient) -> None:
    files = {"file": ("scan.npy", npy(sinogram() * np.float32(81.35858)))}
    form = SMALL_FORM | {"sinogram_unit": "line-integral"}
    answer = await client.post(f"{CT}/reconstructions", files=files, data=form, headers={"Accept": NPY})
    np.testing.assert_allclose(from_npy(answer.content), expected_reconstruction(), atol=0.1)


async def test_geometry_of_lodopab_is_the_default(client: httpx.AsyncClient) -> None:
    disc = hu_to_attenuation(np.where(np.hypot(*(np.mgrid[:362, :362] - 180.5)) < 150, 0.0, -1000.0))
    files = {"file": ("scan.npy", npy(forward_project(disc, LODOPAB)))}
    answer = await client.post(f"{CT}/reconstructions", files=files, data={"denoise": "false"}, headers={"Accept": NPY})
    hu = from_npy(answer.content)
    assert hu.shape == (362, 362)
    assert hu[100:260, 100:260].mean() == pytest.approx(0, abs=5)  # 0.5 % of water's attenuation


@pytest.mark.parametrize("accept", [JSON, PNG, NPY, DICOM])
async def test_every_answer_names_model_version_digest_and_time(client: httpx.AsyncClient, accept: str) -> None:
    answer = await enhance(client, npy(slice_hu()), accept)
    assert answer.headers["content-type"] == accept
    digest = (await client.get("/v1/models/low-dose-ct")).json()["weights"]["sha256"]
    if accept == JSON:
        expected = {"name": "low-dose-ct", "version": "1.0.0", "weights_sha256": digest}
        assert answer.json()["model"] == expected
    else:
        assert answer.headers["Facet-Model"] == f'low-dose-ct;version="1.0.0";sha256="{digest}"'
        assert answer.headers["Facet-Notice"] == DISCLAIMER
        assert f'filename="enhancement.{accept[-3:].replace("com", "dcm")}"' in answer.headers["Content-Disposition"]
    phases = {part.partition(";")[0].strip() for part in answer.headers["Server-Timing"].split(",")}
    assert {"queue", "pre", "infer", "post"} <= phases
    assert answer.headers["X-Request-ID"]
    assert answer.headers["traceparent"]


async def test_enhancement_of_an_array(client: httpx.AsyncClient) -> None:
    hu = from_npy((await enhance(client, npy(slice_hu()), NPY)).content)
    np.testing.assert_allclose(hu, expected_enhancement(), atol=0.1)
    x = hu_to_attenuation(slice_hu(), clip=False)
    normalised = from_npy((await enhance(client, npy(x), NPY, unit="normalised")).content)
    np.testing.assert_allclose(attenuation_to_hu(normalised), expected_enhancement(), atol=0.1)


@pytest.mark.parametrize("shape", [(8, 8), (9, 31), (65, 40)])
async def test_slices_of_any_size(client: httpx.AsyncClient, shape: tuple[int, int]) -> None:
    hu = np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)
    answer = from_npy((await enhance(client, npy(hu), NPY)).content)
    np.testing.assert_allclose(answer, attenuation_to_hu(mean_of_neighbours(hu_to_attenuation(hu))), atol=0.1)


async def test_enhancement_of_a_picture_goes_through_its_window(client: httpx.AsyncClient) -> None:
    window = parse_window("40,400")
    posted = render_png(slice_hu(), window)
    answer = await enhance(client, posted, NPY, window="40,400")
    seen = np.clip(slice_hu(), -160, 239)
    expected = attenuation_to_hu(mean_of_neighbours(hu_to_attenuation(seen)))
    np.testing.assert_allclose(from_npy(answer.content), expected, atol=1.0)  # half a grey step is 0.8 HU


async def test_derived_dicom_keeps_grid_and_rescale_and_gets_new_uids(client: httpx.AsyncClient) -> None:
    posted = slice_dicom(RescaleSlope="2", RescaleIntercept="-1024", PatientID="p-1", StudyInstanceUID="1.2.3")
    source, source_hu = stored_hu(posted)
    dataset, hu = stored_hu((await enhance(client, posted, DICOM)).content)
    assert (float(dataset.RescaleSlope), float(dataset.RescaleIntercept)) == (2.0, -1024.0)
    assert dataset.PixelSpacing == source.PixelSpacing
    assert (dataset.StudyInstanceUID, dataset.PatientID) == ("1.2.3", "p-1")
    assert dataset.SOPInstanceUID != source.SOPInstanceUID
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert dataset.ImageType[0] == "DERIVED"
    assert "low-dose-ct 1.0.0" in dataset.DerivationDescription
    expected = attenuation_to_hu(mean_of_neighbours(hu_to_attenuation(source_hu, clip=False)))
    np.testing.assert_allclose(hu, np.clip(expected, -1024, None), atol=1.01)  # half a stored step of 2 HU


async def test_untuned_model_and_its_noise_level(client: httpx.AsyncClient) -> None:
    posted = npy(slice_hu())
    brighter = from_npy((await enhance(client, posted, NPY, model="gaussian-denoiser", noise_level="0.125")).content)
    np.testing.assert_allclose(brighter - slice_hu(), 0.125 * 81.35858 / 0.01998, rtol=1e-3)
    described = (await enhance(client, posted, model="gaussian-denoiser")).json()
    assert described["model"]["name"] == "gaussian-denoiser"
    assert described["noise_level"] == pytest.approx(25 / 255)
    assert any("untuned" in caveat for caveat in described["caveats"])


async def test_noise_level_comes_from_the_card_by_default(client: httpx.AsyncClient) -> None:
    assert (await enhance(client, npy(slice_hu()))).json()["noise_level"] == 0.03125
    assert (await enhance(client, npy(slice_hu()), noise_level="0.25")).json()["noise_level"] == 0.25


@pytest.mark.parametrize("as_dicom", [False, True])
async def test_comparison_with_a_reference_is_that_of_scikit_image(client: httpx.AsyncClient, as_dicom: bool) -> None:
    clean = np.rint(slice_hu() + np.random.default_rng(9).normal(0, 40, slice_hu().shape)).clip(-1024, 3071)
    posted = new_ct(clean, spacing_mm=(1, 1), series_description="-", derivation="-") if as_dicom else npy(clean)
    comparison = (await enhance(client, npy(slice_hu()), reference=posted)).json()["comparison"]
    truth = hu_to_attenuation(clean, clip=False).astype(np.float64)
    for name, hu in (("before", slice_hu()), ("after", expected_enhancement())):
        image, span = hu_to_attenuation(hu, clip=False).astype(np.float64), float(np.ptp(truth))
        found = comparison[name]
        assert found["psnr_db"] == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=span), abs=2e-3)
        assert found["ssim"] == pytest.approx(structural_similarity(truth, image, data_range=span), abs=1e-4)
        full = peak_signal_noise_ratio(truth, image, data_range=1.0)
        assert found["psnr_full_range_db"] == pytest.approx(full, abs=2e-3)
        assert found["ssim_full_range"] == pytest.approx(structural_similarity(truth, image, data_range=1.0), abs=1e-4)
        assert found["mean_bias_hu"] == pytest.approx(float((hu - clean).mean()), abs=0.05)


async def test_reconstruction_compared_with_a_reference(client: httpx.AsyncClient) -> None:
    comparison = (await reconstruct(client, reference=npy(slice_hu()))).json()["comparison"]
    assert comparison["before"]["psnr_db"] != comparison["after"]["psnr_db"]
    bias = float((expected_reconstruction() - slice_hu()).mean())
    assert comparison["after"]["mean_bias_hu"] == pytest.approx(bias, abs=0.1)


async def test_equal_images_have_no_finite_psnr(client: httpx.AsyncClient) -> None:
    answer = await enhance(client, npy(slice_hu()), reference=npy(slice_hu()))
    before = answer.json()["comparison"]["before"]
    assert before["psnr_db"] is None
    assert before["psnr_full_range_db"] is None
    assert (before["ssim"], before["mean_bias_hu"]) == (1, 0)


async def test_pixels_that_the_scanner_did_not_see_are_counted(client: httpx.AsyncClient) -> None:
    posted = slice_dicom(RescaleIntercept="-1100")
    _, hu = stored_hu(posted)
    assert (await enhance(client, posted)).json()["padding_pixels"] == int((hu < -1024).sum()) > 0


async def test_prefers_the_type_that_it_likes_best(client: httpx.AsyncClient) -> None:
    answer = await enhance(client, npy(slice_hu()), "application/json;q=0.5, image/*;q=0.9")
    assert answer.headers["content-type"] == PNG


async def test_browser_gets_json(client: httpx.AsyncClient) -> None:
    answer = await enhance(client, npy(slice_hu()), "text/html,application/xhtml+xml,*/*;q=0.8")
    assert answer.headers["content-type"] == JSON


async def test_series_needs_the_job_store(client: httpx.AsyncClient) -> None:
    files = [("file", ("a.npy", npy(slice_hu()))), ("file", ("b.npy", npy(slice_hu())))]
    answer = await client.post(f"{CT}/enhancements", files=files)
    assert answer.status_code == 503
    assert "job store" in answer.json()["detail"]
    assert answer.headers["Retry-After"]


async def test_reference_of_a_series_is_refused_rather_than_ignored(client: httpx.AsyncClient) -> None:
    part = ("slice.npy", npy(slice_hu()))
    answer = await client.post(f"{CT}/enhancements", files=[("file", part), ("file", part), ("reference", part)])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/body/reference"


@pytest.mark.parametrize("accept", [JSON, PNG, NPY])
async def test_the_body_may_be_the_file(client: httpx.AsyncClient, accept: str) -> None:
    """Sinogram, slice in two formats: what a form is answered with, options in the query instead."""
    cases = [
        ("reconstructions", NPY, npy(sinogram()), SMALL_FORM | {"filter": "hamming"}),
        ("enhancements", NPY, npy(slice_hu()), {"window": "bone", "unit": "hu"}),
        ("enhancements", DICOM, slice_dicom(), {"noise_level": "0.25", "model": "gaussian-denoiser"}),
    ]
    for route, kind, data, options in cases:
        url, headers = f"{CT}/{route}", {"Accept": accept}
        bare = await client.post(url, content=data, params=options, headers=headers | {"Content-Type": kind})
        form = await client.post(url, files={"file": data}, data=options, headers=headers)
        assert (bare.status_code, form.status_code) == (200, 200), bare.text
        assert bare.content == form.content
        assert bare.headers.get("Facet-Model") == form.headers.get("Facet-Model")


async def test_a_phantom_needs_no_body(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{CT}/simulations", params={"phantom": "chest", "photons": "500"})
    assert (answer.status_code, answer.json()["photons"]) == (200, 500)


async def test_options_in_the_query_are_checked_and_named(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": NPY}
    for options, pointer in ({"window": "kitchen"}, "/query/window"), ({"nonsense": "1"}, "/query/nonsense"):
        answer = await client.post(f"{CT}/enhancements", content=npy(slice_hu()), params=options, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_slice_that_takes_minutes_is_for_a_job(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "LARGEST_DIRECT_PIXELS", slice_hu().size - 1)
    answer = await client.post(f"{CT}/enhancements", files={"file": npy(slice_hu())})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert "Prefer: respond-async" in answer.json()["detail"]
    monkeypatch.setattr(routes, "LARGEST_DIRECT_PIXELS", slice_hu().size)
    assert (await client.post(f"{CT}/enhancements", files={"file": npy(slice_hu())})).status_code == 200
