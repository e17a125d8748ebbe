"""Lists of generators, and generators fused with classifiers, over HTTP."""

from __future__ import annotations

import io

import httpx
import numpy as np
import onnxruntime
import pytest

from services.security.neuralfuse.capability import PATH
from tests.integration.neuralfuse.conftest import Service
from tests.support.neuralfuse_models import BASE, CLASSES, GENERATOR, SMALL_GENERATOR

ROUTE = f"{PATH}/generators"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_list_says_what_each_was_trained_for_and_what_it_saves(service: Service) -> None:
    said = (await service.client.get(ROUTE)).json()
    assert [one["name"] for one in said["generators"]] == [GENERATOR, SMALL_GENERATOR]
    large = said["generators"][0]
    assert (large["architecture"], large["parameters"], large["macs"]) == ("UNetL", 482_771, 41.41e6)
    assert large["trained_for"] == {
        "base": BASE,
        "base_sha256": service.base_sha256,
        "bit_error_rate": 0.01,
        "weight": 5.0,
        "faults": {"kind": "stuck_at", "layout": "tiled"},
    }
    assert large["base_released"]
    assert [one["saving_percent"] for one in large["energy"]] == pytest.approx([17.05, 3.62], abs=0.01)
    assert [(one["model"]["name"], one["network"]) for one in said["bases"]] == [(BASE, "vgg11")]


def run(
    content: bytes, pictures: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: pictures})
    return np.asarray(found, np.float32)


@pytest.mark.parametrize(("model", "domain"), [(None, "security"), ("other", "perception")])
async def test_a_fused_model_says_what_the_classifier_says_behind_the_generator(
    service: Service, model: str | None, domain: str
) -> None:
    params = {} if model is None else {"model": model}
    response = await service.client.get(f"{ROUTE}/{GENERATOR}/fused-model", params=params)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-onnx"
    assert response.headers["facet-model"].startswith(f"{model or BASE};")
    pictures = np.random.default_rng(0).random((3, 3, 32, 32), np.float32)
    generator = (service.models / "security" / GENERATOR / "1.0.0" / "model.onnx").read_bytes()
    base = (service.models / domain / (model or BASE) / "1.0.0" / "model.onnx").read_bytes()
    transformed = run(generator, pictures)
    if model is not None:
        mean, std = (np.array(one, np.float32).reshape(1, 3, 1, 1) for one in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
        transformed = (transformed - mean) / std
    fused = onnxruntime.InferenceSession(response.content, providers=["CPUExecutionProvider"])
    (given,), (made,) = fused.get_inputs(), fused.get_outputs()
    assert (given.name, given.shape[1:], made.name) == ("pictures", [3, 32, 32], "logits")
    found = run(response.content, pictures)
    assert found.shape == (3, CLASSES)
    np.testing.assert_allclose(found, run(base, transformed), atol=1e-4)


async def test_what_cannot_be_fused_is_named(service: Service) -> None:
    async def get(name: str, accept: str = "*/*", **params: str) -> httpx.Response:
        return await service.client.get(f"{ROUTE}/{name}/fused-model", params=params, headers={"Accept": accept})

    assert (await get("nobody")).status_code == 404
    assert (await get(BASE)).status_code == 404
    assert "no generator" in (await get(BASE)).json()["detail"]
    assert (await get(GENERATOR, accept="image/png")).status_code == 406
    odd = await get(GENERATOR, model="odd-side")
    assert (odd.status_code, odd.json()["errors"][0]["pointer"]) == (422, "/path/name")
    generator = await get(GENERATOR, model=SMALL_GENERATOR)
    assert (generator.status_code, generator.json()["errors"][0]["pointer"]) == (422, "/query/model")


async def test_a_file_that_was_fetched_can_be_saved_under_its_name(service: Service) -> None:
    response = await service.client.get(f"{ROUTE}/{GENERATOR}/fused-model")
    assert response.headers["content-disposition"] == f'attachment; filename="{GENERATOR}-{BASE}.onnx"'
    assert io.BytesIO(response.content).read(1)
