"""A classifier that is uploaded to the perception service is explained by the uncertainty service: real processes."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest

from services.perception.classification.demo import stop_sign
from tests.support.classifiers import card_of, classifier, upload_form

EXPLANATIONS = "/v1/uncertainty/explanations"


def upload(client: httpx.Client, content: bytes, *, name: str, version: str = "1.0.0", **parameters: Any) -> None:
    card = card_of(content, name=name, version=version, **parameters)
    answer = client.post("/v1/models", files=upload_form(content, card), data={"domain": "perception"})
    assert answer.status_code in {200, 201}, answer.text


def explain(client: httpx.Client, name: str, **form: Any) -> httpx.Response:
    return client.post(EXPLANATIONS, files={"file": stop_sign()}, data={"model": name, **form})


def test_an_uploaded_classifier_is_explained(client: httpx.Client) -> None:
    content = classifier(seed=3)
    upload(client, content, name="own-colours", classes=["a", "b", "c", "d"])
    assert "own-colours" in {one["name"] for one in client.get("/v1/uncertainty/explainers").json()["on_demand"]}
    answer = explain(client, "own-colours", method=["srd", "grad-cam", "lrp-epsilon"], activation_pattern="black")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model"]["name"] == "own-colours"
    assert body["model"]["weights_sha256"] == card_of(content, name="x")["weights"]["sha256"]
    (one,) = body["explanations"]
    assert one["explained"]["name"] in {"a", "b", "c", "d"}
    assert one["maps"][0]["total"] == pytest.approx(one["explained"]["logit"], rel=1e-3)
    assert np.shape(one["maps"][0]["relevance"]) == (32, 32)
    # What is explained is what is served: the same logit as the file gives by itself.
    tensor = client.post(
        "/v1/perception/classifications",
        files={"file": stop_sign()},
        data={"model": "own-colours"},
        headers={"Accept": "application/x-npy"},
    )
    chances = np.load(io.BytesIO(tensor.content))[0]
    assert one["explained"]["class_id"] == int(chances.argmax())
    assert one["explained"]["probability"] == pytest.approx(float(chances.max()), rel=1e-3)
    listed = client.get("/v1/uncertainty/explainers").json()
    assert "own-colours" in {known["model"]["name"] for known in listed["models"]}
    assert "own-colours" not in {known["name"] for known in listed["on_demand"]}


def test_a_newer_version_is_explained_at_once(client: httpx.Client) -> None:
    for version, seed in (("1.0.0", 4), ("1.1.0", 5)):
        upload(client, classifier(seed=seed), name="own-versions", version=version)
        assert explain(client, "own-versions").json()["model"]["version"] == version


@pytest.mark.parametrize(
    ("name", "content", "parameters", "reason"),
    [
        ("own-squash", classifier(squash=True), {}, "Sigmoid bend: an operation without a rule"),
        ("own-mean", classifier(seed=6), {"mean": [0.5, 0.5, 0.5]}, "parameters.mean of its card normalises outside"),
        ("own-warmth", classifier(seed=7), {"temperature": 0}, "no positive number"),
    ],
)
def test_what_cannot_be_explained_is_refused_by_the_true_reason(
    client: httpx.Client, name: str, content: bytes, parameters: dict[str, Any], reason: str
) -> None:
    upload(client, content, name=name, **parameters)
    for _ in range(2):
        answer = explain(client, name)
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/body/model"
        assert reason in error["detail"]


def test_a_model_that_is_no_classifier_says_so_and_an_unknown_one_is_not_found(client: httpx.Client) -> None:
    answer = explain(client, "low-dose-ct")
    assert answer.status_code == 422
    assert "low-dose-ct" in answer.json()["detail"]
    assert explain(client, "nobody-has-this").status_code == 404
