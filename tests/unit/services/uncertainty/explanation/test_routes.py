"""Explanations over HTTP: posted as a user would, and what is said of requests that cannot be met."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from services.uncertainty.explanation.inference import Explainer
from services.uncertainty.explanation.methods import Method
from tests.support.capability import png
from tests.unit.services.uncertainty.explanation.conftest import pictures, refused_classifier, sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "/v1/uncertainty/explanations"
CONVERSIONS = "/v1/uncertainty/explainers/conversions"
SIGN = {"file": png(sign(side=32))}


async def test_numbers(client: httpx.AsyncClient, explainer: Explainer) -> None:
    answer = await client.post(ROUTE, files=SIGN, data={"method": ["srd", "grad-cam"], "target": "14"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (one,) = body["explanations"]
    expected = explainer.explain(pictures(1), Method.SRD, targets=np.array([14]))
    assert one["explained"]["name"] == "stop"
    assert one["explained"]["logit"] == pytest.approx(float(expected.logits[0, 14]), rel=1e-4)
    assert one["predicted"]["class_id"] == int(expected.logits[0].argmax())
    first, second = one["maps"]
    assert (first["method"], second["method"]) == ("srd", "grad-cam")
    np.testing.assert_allclose(first["relevance"], expected.relevance[0], rtol=1e-3, atol=1e-5)
    assert first["total"] == pytest.approx(one["explained"]["logit"], rel=1e-3)
    row, column = first["peak"]
    assert first["relevance"][row][column] == max(map(max, first["relevance"]))
    assert first["rank_correlation"]["grad-cam"] == second["rank_correlation"]["srd"]
    assert body["model"]["name"] == "traffic-signs"
    assert "infer;dur=" in answer.headers["Server-Timing"]


async def test_overlays_side_by_side(client: httpx.AsyncClient) -> None:
    files = [("file", ("a", png(sign()))), ("file", ("b", png(sign(side=90))))]
    form = {"method": ["srd", "cam", "integrated-gradients"], "steps": "3"}
    answer = await client.post(ROUTE, files=files, data=form, headers={"Accept": "image/png"})
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Facet-Model"].startswith("traffic-signs;")
    image = Image.open(io.BytesIO(answer.content))
    assert image.width > 4 * 256
    assert image.height > 2 * 256
    left = np.asarray(image)[8:264, 8:264]
    np.testing.assert_array_equal(left[::8, ::8], np.asarray(image)[8:264:8, 8:264:8])
    colours = np.asarray(image).astype(int)
    panel = colours[8:264, 272:528]
    assert (panel[..., 0] - panel[..., 2]).max() > 60, "red speaks for the class"


async def test_arrays(client: httpx.AsyncClient) -> None:
    files = [("file", ("a", png(sign()))), ("file", ("b", png(sign(side=20))))]
    answer = await client.post(
        ROUTE, files=files, data={"method": ["random", "centre"], "seed": "7"}, headers={"Accept": "application/x-npy"}
    )
    found = np.load(io.BytesIO(answer.content))
    assert found.shape == (2, 2, 32, 32)
    assert found.dtype == np.float32
    again = await client.post(
        ROUTE, files=files, data={"method": ["random"], "seed": "7"}, headers={"Accept": "application/x-npy"}
    )
    np.testing.assert_array_equal(np.load(io.BytesIO(again.content))[:, 0], found[:, 0])
    assert np.unravel_index(found[0, 1].argmax(), (32, 32)) == (15, 15)


async def test_layers_by_name_and_position(client: httpx.AsyncClient) -> None:
    known = (await client.get("/v1/uncertainty/explainers")).json()
    (model,) = known["models"]
    assert {item["method"] for item in known["methods"]} == set(Method)
    name = model["layers"][3]["name"]
    answer = await client.post(ROUTE, files=SIGN, data={"layer": [name, "-1", "0"]})
    layers = answer.json()["explanations"][0]["maps"][0]["layers"]
    assert [item["layer"] for item in layers] == [name, model["layers"][-1]["name"], model["layers"][0]["name"]]
    assert np.shape(layers[1]["relevance"]) == (4, 4)
    assert layers[1]["total"] == pytest.approx(layers[2]["total"], rel=1e-3)


@pytest.mark.parametrize("methods", [["srd"], ["cam"], ["cam", "srd"]])
async def test_activation_pattern(client: httpx.AsyncClient, methods: list[str]) -> None:
    form = {"method": methods, "activation_pattern": "black"}
    (one,) = (await client.post(ROUTE, files=SIGN, data=form)).json()["explanations"]
    assert [item["method"] for item in one["maps"]] == methods
    pattern = one["activation_pattern"]
    assert pattern["substitute"] == "black"
    assert pattern["keeps_class"] == (pattern["predicted"]["class_id"] == one["predicted"]["class_id"])


WRONG: dict[str, tuple[dict[str, Any], int, str | None]] = {
    "unknown method": ({"method": "magic"}, 422, "/body/method/0"),
    "class too large": ({"target": "43"}, 422, "/body/target"),
    "negative class": ({"target": "-1"}, 422, "/body/target"),
    "no such layer": ({"layer": "nowhere"}, 422, "/body/layer/0"),
    "layer beyond the last": ({"layer": ["0", "18"]}, 422, "/body/layer/1"),
    "layer of a method without": ({"layer": "1", "method": "cam"}, 422, "/body/layer"),
    "the input has no activation map": ({"layer": "0", "method": "grad-cam"}, 422, "/body/layer/0"),
    "a huge number as layer": ({"layer": "9" * 400}, 422, "/body/layer/0"),
    "no steps": ({"steps": "0"}, 422, "/body/steps"),
    "other substitute": ({"activation_pattern": "mine"}, 422, "/body/activation_pattern"),
    "unknown field": ({"nonsense": "1"}, 422, "/body/nonsense"),
    "a model that nobody can say there is without Redis": ({"model": "nothing"}, 503, None),
}


@pytest.mark.parametrize(("form", "status", "pointer"), WRONG.values(), ids=list(WRONG))
async def test_wrong_fields(client: httpx.AsyncClient, form: dict[str, Any], status: int, pointer: str | None) -> None:
    answer = await client.post(ROUTE, files=SIGN, data=form)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    if pointer:
        assert answer.json()["errors"][0]["pointer"] == pointer


async def test_wrong_files(client: httpx.AsyncClient) -> None:
    files = [("file", ("a", png(sign()))), ("file", ("b", b"%PDF-1.7 no picture"))]
    answer = await client.post(ROUTE, files=files)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (415, "/body/file/1")
    assert (await client.post(ROUTE, files={"file": b""})).status_code == 422
    assert (await client.post(ROUTE, files=[("file", ("a", png(sign())))] * 9)).status_code == 422
    assert (await client.post(ROUTE, files=SIGN, headers={"Accept": "audio/wav"})).status_code == 406


async def test_a_classifier_without_rules_is_refused_and_its_parts_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, files=SIGN, data={"model": "refused"})
    assert answer.status_code == 422
    detail = answer.json()["errors"][0]["detail"]
    assert "Sigmoid squash" in detail
    assert "dilated convolution" in detail


async def test_a_model_is_converted(
    client: httpx.AsyncClient, explainer: Explainer, classifier: onnx.ModelProto
) -> None:
    content = classifier.SerializeToString()
    answer = await client.post(CONVERSIONS, files={"file": content}, data={"layer": "*", "activation_pattern": "true"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-onnx"
    session = onnxruntime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    batch = pictures(2)
    names = ["logits", "explained", "relevance", "pattern_logits"]
    feed = {"pictures": batch, "target": np.array([-1, 3]), "substitute": batch}
    logits, explained, relevance, pattern = session.run(names, feed)
    assert explained.tolist() == [int(logits[0].argmax()), 3]
    expected = explainer.explain(batch, Method.SRD, targets=np.array([-1, 3]))
    np.testing.assert_allclose(relevance, expected.relevance, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(pattern, logits, rtol=1e-3, atol=1e-3)
    assert sum(item.name.startswith("relevance/") for item in session.get_outputs()) == len(explainer.layers)


def external_weights() -> bytes:
    model = onnx.load_model_from_string(refused_classifier())
    first = model.graph.initializer[0]
    first.ClearField("raw_data")
    first.data_location = onnx.TensorProto.EXTERNAL
    first.external_data.add(key="location", value="../../etc/passwd")
    content: bytes = model.SerializeToString()
    return content


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "without rules": (refused_classifier(), "Sigmoid squash"),
    "no model": (b"\x00\x01 nothing of the kind", "no valid ONNX model"),
    "a picture": (png(sign()), "no valid ONNX model"),
    "cut off": (refused_classifier()[:200], "no valid ONNX model"),
    "weights elsewhere": (external_weights(), "weights outside of the file"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize(("content", "says"), UNREADABLE.values(), ids=list(UNREADABLE))
async def test_what_cannot_be_converted(client: httpx.AsyncClient, content: bytes, says: str) -> None:
    answer = await client.post(CONVERSIONS, files={"file": content})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/body/file"
    assert says in answer.json()["errors"][0]["detail"]


async def test_unknown_layer_of_an_own_model(
    client: httpx.AsyncClient, explainer: Explainer, classifier: onnx.ModelProto
) -> None:
    files = {"file": classifier.SerializeToString()}
    answer = await client.post(CONVERSIONS, files=files, data={"layer": "nowhere"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/body/layer"


async def test_requests_at_once_get_their_own_explanations(client: httpx.AsyncClient, explainer: Explainer) -> None:
    """Methods that share a graph and differ in what holds for a whole batch, beside each other and repeatedly."""
    methods = [Method.SRD, Method.SRD_CONTRAST, Method.INTEGRATED_GRADIENTS, Method.LRP_Z_PLUS] * 3
    answers = await asyncio.gather(
        *(
            client.post(
                ROUTE,
                files=SIGN,
                data={"method": method.value, "steps": "4"},
                headers={"Accept": "application/x-npy"},
            )
            for method in methods
        )
    )
    for method, answer in zip(methods, answers, strict=True):
        assert answer.status_code == 200, answer.text
        expected = explainer.explain(pictures(1), method, steps=4).relevance
        found = np.load(io.BytesIO(answer.content))[:, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


async def test_the_body_may_be_the_picture(client: httpx.AsyncClient) -> None:
    options = {"method": ["centre", "random"], "seed": "3"}
    bare = await client.post(ROUTE, content=SIGN["file"], params=options, headers={"Content-Type": "image/png"})
    form = await client.post(ROUTE, files=SIGN, data=options)
    assert (bare.status_code, form.status_code) == (200, 200), bare.text
    assert bare.json() == form.json()
    wrong = await client.post(ROUTE, content=SIGN["file"], params={"method": "magic"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/query/method/0")
