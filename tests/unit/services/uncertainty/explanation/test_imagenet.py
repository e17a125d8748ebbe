"""The released classifier of ImageNet's classes, explained: depthwise convolutions, ReLU6, uneven padding."""

from __future__ import annotations

import io
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from services.declarations import SERVICES
from services.uncertainty.app import create_app
from services.uncertainty.explanation.explainers import Explainers
from services.uncertainty.explanation.graphs import TrustedSource
from services.uncertainty.explanation.inference import Explainer
from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.onnx_graphs.verification import verify
from shared.runtime.cards import read_card, read_weights
from shared.runtime.models.registry import newest_folder
from shared.settings import Settings
from tests.support.addresses import NO_REDIS
from tests.support.capability import png, running_capability
from tests.support.serving import running, until_models_are_open

ROUTE = "/v1/uncertainty/explanations"
NAME = "imagenet-lite0"
RELEASED = newest_folder(SERVICES / "perception" / "models", NAME)


def drawn(seed: int = 0) -> Image.Image:
    """A smooth picture with some noise, 300 x 260."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 200, (8, 8, 3), np.uint8))
    smooth = np.asarray(coarse.resize((300, 260), Image.Resampling.BILINEAR), np.int16)
    return Image.fromarray((smooth + random.integers(0, 40, smooth.shape)).astype(np.uint8))


def seen(picture: Image.Image) -> NDArray[np.float32]:
    """What the network sees of it, by Pillow alone."""
    side = 0.875 * min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    cut = picture.resize((224, 224), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(cut, np.float32).transpose(2, 0, 1) / np.float32(255)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    card = read_card(RELEASED)
    return Explainer(card, TrustedSource(partial(read_weights, RELEASED, card)), threads=1)


def test_it_converts_and_adds_up() -> None:
    """What uploaded classifiers have to stand: reading, activation patterns, conservation with what is lost."""
    verify(onnx.load_model_from_string((RELEASED / "model.onnx").read_bytes()))


def test_relevance_of_pixels_and_of_layers_adds_up_to_the_logit(explainer: Explainer) -> None:
    pictures = np.stack([seen(drawn(seed)) for seed in range(2)])
    layers = ["_conv_stem.relu6", "_blocks.0._project_conv", explainer.layers[-1]]
    found = explainer.explain(pictures, Method.SRD, targets=np.array([-1, 340], np.int64), layers=layers)
    logits = found.logits[[0, 1], found.explained]
    assert found.explained[1] == 340
    assert found.relevance.shape == (2, 224, 224)
    np.testing.assert_allclose(found.relevance.sum(axis=(1, 2), dtype=np.float64), logits, rtol=2e-3, atol=2e-3)
    # None of these lies beside a shortcut, so all relevance goes through each.
    for layer in layers:
        total = found.layers[layer].sum(axis=(1, 2), dtype=np.float64)
        np.testing.assert_allclose(total, logits, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("method", [each for each in Method if each is not Method.SRD])
def test_every_method_has_a_map(explainer: Explainer, method: Method) -> None:
    picture = seen(drawn())[None]
    found = explainer.explain(picture, method, steps=2)
    assert found.relevance.shape == (1, 224, 224)
    assert np.isfinite(found.relevance).all()
    assert found.relevance.std() > 0


def test_the_gradient_is_the_slope_of_the_logit(explainer: Explainer) -> None:
    """Against differences: a step along the sign of input times gradient moves the logit by that much."""
    picture = seen(drawn())[None]
    found = explainer.explain(picture, Method.INPUT_X_GRADIENT)
    label, step = found.explained, np.float32(1e-3)
    normalised = 127 / 255  # x' = (x - 127/255) / (128/255): scaling x' by 1 + step moves x by step (x - 127/255)
    changed = [picture + sign * step * (picture - np.float32(normalised)) for sign in (-1, 1)]
    below, above = (explainer.explain(one, Method.CAM, targets=label).logits[0, label[0]] for one in changed)
    slope = (above - below) / (2 * step)
    assert slope == pytest.approx(float(found.relevance.sum()), rel=0.15, abs=0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("imagenet")
    shutil.copytree(RELEASED, folder / "models" / "perception" / NAME / RELEASED.name)
    async with running_capability(create_app, folder) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
async def test_the_route_explains_what_the_classifier_sees(client: httpx.AsyncClient, explainer: Explainer) -> None:
    listed = (await client.get("/v1/uncertainty/explainers")).json()
    assert (listed["models"], [one["name"] for one in listed["on_demand"]]) == ([], [NAME])
    pictures = [drawn(1), drawn(2)]
    files = [("file", (f"{index}.png", png(picture))) for index, picture in enumerate(pictures)]
    answer = await client.post(ROUTE, files=files, data={"model": NAME}, headers={"Accept": "application/x-npy"})
    assert answer.status_code == 200, answer.text
    found = np.load(io.BytesIO(answer.content))
    listed = (await client.get("/v1/uncertainty/explainers")).json()
    assert [(one["model"]["name"], one["height"], one["width"]) for one in listed["models"]] == [(NAME, 224, 224)]
    assert listed["on_demand"] == []
    right = explainer.explain(np.stack([seen(picture) for picture in pictures]), Method.SRD).relevance
    np.testing.assert_allclose(found[:, 0], right, atol=1e-4 * np.abs(right).max())
    named = (await client.post(ROUTE, content=png(pictures[0]), params={"model": NAME})).json()
    assert named["explanations"][0]["predicted"]["name"] in read_card(RELEASED).parameters["classes"]  # type: ignore[operator]


async def test_its_graphs_are_made_on_demand_and_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_EXPLANATION_UPLOADED_MEMORY_BYTES", str(25 * 2**20))
    shutil.copytree(RELEASED, tmp_path / "models" / "perception" / NAME / RELEASED.name)
    settings = Settings(
        _env_file=None, redis_url=NO_REDIS, blob_url=str(tmp_path), models=tmp_path / "models", inference_threads=1
    )
    app = create_app(settings)
    async with running(app) as client:
        await until_models_are_open(client)
        explainers: Explainers = app.state.service.states.get(Explainers)
        assert explainers.memory == 0
        assert explainers.known == []
        form = {"model": NAME, "method": "cam"}
        first = await client.post(ROUTE, files={"file": png(drawn())}, data=form)
        assert first.status_code == 200, first.text
        assert 0 < explainers.memory < 25 * 2**20
        # The larger graph of sharing ratios is more than it may hold: it goes as soon as it has answered.
        assert (await client.post(ROUTE, files={"file": png(drawn())}, data={"model": NAME})).status_code == 200
        assert explainers.memory == 0
        assert explainers.known == []
        assert (await client.post(ROUTE, files={"file": png(drawn())}, data=form)).json() == first.json()
