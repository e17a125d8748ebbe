"""Calibrations over HTTP on a real Redis: what is made of posted values, who sees it, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.uncertainty.app import create_app
from services.uncertainty.conformal.methods.classification.calibration import calibrate, make_class_taxonomy
from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
from services.uncertainty.conformal.methods.regression.interval_bands import around_quantiles
from services.uncertainty.conformal.methods.scores import APS, THR
from shared.settings import Settings
from tests.integration.conformal.conftest import CALIBRATIONS, RESOURCES_LIMIT, calibrated, logits, pointers
from tests.support.capability import npy
from tests.support.serving import running
from tests.unit.services.uncertainty.conformal.methods.naive import quantile


async def test_thresholds_are_the_order_statistic(client: httpx.AsyncClient) -> None:
    values, labels = logits(200)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), alpha=[0.1, 0.3])
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    scores = np.sort(1 - (shifted / shifted.sum(axis=1, keepdims=True))[np.arange(200), labels])
    (cell,) = body["cells"]
    for threshold in cell["thresholds"]:
        assert threshold["q"] == pytest.approx(quantile(scores.tolist(), str(threshold["alpha"])), abs=1e-12)
        low, high = threshold["coverage_band"]
        assert low < 1 - threshold["alpha"] < high
        assert threshold["expected_coverage"] == pytest.approx(1 - threshold["alpha"], abs=1 / 201)
    assert (body["n"], body["effective_n"], body["classes"]) == (200, 200, 5)
    assert body["guarantee"].startswith("If calibration and test items are exchangeable")
    assert body["version"].startswith("sha256:")


async def test_files_and_json_make_the_same_version(client: httpx.AsyncClient) -> None:
    values, labels = logits(60)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), score="raps", seed=3)
    lines = "\n".join(",".join(repr(float(one)) for one in row) for row in values)
    table = b"a,b,c,d,e\n" + lines.encode()
    files = {"logits": ("x", table), "labels": ("y", npy(labels.astype(np.int64)))}
    answer = await client.post(CALIBRATIONS, files=files, data={"score": "raps", "seed": "3", "alpha": "0.1"})
    assert answer.status_code == 201, answer.text
    again = answer.json()
    assert (again["version"], again["data_digest"]) == (body["version"], body["data_digest"])
    assert again["id"] != body["id"]
    assert answer.headers["location"] == f"{CALIBRATIONS}/{again['id']}"
    other = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), score="raps", seed=4)
    assert other["version"] != body["version"]


async def test_parquet(client: httpx.AsyncClient) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the optional package pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    values, labels = logits(60)
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table({f"c{index}": values[:, index] for index in range(5)}), stream)
    files = {"logits": stream.getvalue(), "labels": npy(labels)}
    answer = await client.post(CALIBRATIONS, files=files)
    assert answer.status_code == 201, answer.text
    same = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    assert answer.json()["data_digest"] == same["data_digest"]
    damaged = await client.post(CALIBRATIONS, files={**files, "logits": stream.getvalue()[:-20]})
    assert (damaged.status_code, pointers(damaged)) == (422, ["/body/logits"])


async def test_too_few_is_no_error_but_said(client: httpx.AsyncClient) -> None:
    values, labels = logits(8)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    (threshold,) = body["cells"][0]["thresholds"]
    assert threshold["q"] is None
    assert threshold["n_required"] == 9
    assert body["levels"][0]["unbounded_cells"] == 1
    assert body["levels"][0]["expected_size"] == 5
    assert "needs 9 scores" in body["warnings"][0]


@pytest.mark.parametrize("method", ["class", "group", "clustered", "weighted", "rc3p"])
async def test_methods(client: httpx.AsyncClient, method: str) -> None:
    values, labels = logits(400)
    by_method: dict[str, dict[str, Any]] = {
        "group": {"groups": (labels % 2).tolist()},
        "weighted": {"weights": np.linspace(1, 2, 400).tolist()},
    }
    sides = by_method.get(method, {})
    asked_by_method: dict[str, dict[str, Any]] = {
        "group": {"groups": [0, 7]},
        "weighted": {"weights": [1.0, 1e9]},
    }
    asked = asked_by_method.get(method, {})
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), method=method, **sides)
    assert body["method"] == method
    answer = await client.post(
        f"{CALIBRATIONS}/{body['id']}/predictions", json={"logits": values[:2].tolist(), **asked}
    )
    assert answer.status_code == 200, answer.text
    first, second = (item["sets"][0] for item in answer.json()["items"])
    assert not first["full"]
    # An unknown group and an item of overwhelming weight get every class.
    assert second["full"] is (method in {"group", "weighted"})
    if method == "class":
        expected = calibrate(THR(), values, labels, taxonomy=make_class_taxonomy(5)).thresholds(0.1)
        assert [cell["thresholds"][0]["q"] for cell in body["cells"]] == pytest.approx(expected.tolist())
    if method == "weighted":
        assert body["effective_n"] < body["n"] == 400


async def test_regression_by_quantiles(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(1)
    targets = random.normal(size=99)
    lower, upper = np.full(99, -1.0), np.full(99, 1.0)
    lower[3], upper[3] = 1.0, -1.0
    posted = {"lower": lower.tolist(), "upper": upper.tolist(), "targets": targets.tolist()}
    body = await calibrated(client, kind="regression", score="cqr", alpha=[0.1], **posted)
    q = np.sort(around_quantiles(lower, upper).scores(targets))[89]
    assert body["cells"][0]["thresholds"][0]["q"] == pytest.approx(q)
    assert "Quantiles of 1 of 99 items" in body["warnings"][0]
    answer = await client.post(f"{CALIBRATIONS}/{body['id']}/predictions", json={"lower": [2.0], "upper": [0.0]})
    (interval,) = answer.json()["points"][0]["intervals"]
    assert (interval["lower"], interval["upper"]) == pytest.approx((-q, 2 + q))
    assert "out of order" in answer.json()["warnings"][0]
    unbounded = await client.post(
        f"{CALIBRATIONS}/{body['id']}/predictions", json={"lower": [0.0], "upper": [1.0], "alpha": [0.001]}
    )
    assert unbounded.json()["points"][0]["intervals"][0]["lower"] is None


async def test_predictions_do_not_depend_on_the_batch(client: httpx.AsyncClient) -> None:
    values, labels = logits(100)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), score="aps", seed=5)
    route = f"{CALIBRATIONS}/{body['id']}/predictions"
    request = {"seed": 9, "alpha": [0.2], "p_values": True}
    whole = await client.post(route, json={"logits": values[:10].tolist(), "first_item": 0, **request})
    part = await client.post(route, json={"logits": values[6:10].tolist(), "first_item": 6, **request})
    assert part.json()["items"] == whole.json()["items"][6:]
    calibration = calibrate(APS(), values, labels, uniforms=uniforms(5, np.arange(100), Purpose.CALIBRATION))
    draws = uniforms(9, np.arange(10), Purpose.PREDICTION)
    expected = calibration.sets(values[:10], 0.2, uniforms=draws)
    assert [item["sets"][0]["labels"] for item in whole.json()["items"]] == [
        np.flatnonzero(row).tolist() for row in expected
    ]
    for item in whole.json()["items"]:
        inside = [label for label, value in enumerate(item["p_values"]) if value > 0.2]
        assert inside == item["sets"][0]["labels"]
        assert item["credibility"] == max(item["p_values"])
    file = await client.post(
        route, files={"logits": npy(values[:10])}, data={"seed": "9", "first_item": "0", "alpha": "0.2"},
        headers={"Accept": "application/x-npy"},
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(io.BytesIO(file.content)), expected)


async def test_empty_sets_can_be_filled(client: httpx.AsyncClient) -> None:
    values, labels = logits(100)
    body = await calibrated(client, logits=(20 * values).tolist(), labels=labels.tolist(), alpha=[0.9])
    route = f"{CALIBRATIONS}/{body['id']}/predictions"
    asked = {"logits": [[0.0, 0.1, 0.0, 0.0, 0.0]]}
    empty = (await client.post(route, json=asked)).json()["items"][0]["sets"][0]
    filled = (await client.post(route, json={**asked, "force_top1": True})).json()["items"][0]["sets"][0]
    assert (empty["labels"], empty["empty"]) == ([], True)
    assert (filled["labels"], filled["empty"]) == ([1], False)


async def test_listing_is_by_owner_and_by_pages(client: httpx.AsyncClient) -> None:
    values, labels = logits(20)
    ids = [(await calibrated(client, logits=values.tolist(), labels=labels.tolist(), name=str(n)))["id"] for n in "abc"]
    first = await client.get(CALIBRATIONS, params={"limit": 2})
    assert [one["id"] for one in first.json()["calibrations"]] == ids[:0:-1]
    link = first.headers["Link"]
    assert link.endswith('rel="next"')
    second = await client.get(link[1 : link.index(">")])
    assert [one["id"] for one in second.json()["calibrations"]] == ids[:1]
    assert second.json()["next_cursor"] is None
    stranger = {"Facet-Caller": "somebody"}
    assert (await client.get(CALIBRATIONS, headers=stranger)).json()["calibrations"] == []
    for method in ("GET", "DELETE"):
        assert (await client.request(method, f"{CALIBRATIONS}/{ids[0]}", headers=stranger)).status_code == 404
    route = f"{CALIBRATIONS}/{ids[0]}/predictions"
    assert (await client.post(route, json={"logits": values.tolist()}, headers=stranger)).status_code == 404
    assert (await client.delete(f"{CALIBRATIONS}/{ids[0]}")).status_code == 204
    assert (await client.get(f"{CALIBRATIONS}/{ids[0]}")).status_code == 404
    assert (await client.get(CALIBRATIONS, params={"cursor": "nonsense"})).status_code == 422


async def test_every_replica_sees_it_and_a_restart_loses_nothing(settings: Settings, client: httpx.AsyncClient) -> None:
    values, labels = logits(50)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    asked = {"logits": values[:3].tolist()}
    here = await client.post(f"{CALIBRATIONS}/{body['id']}/predictions", json=asked)
    async with running(create_app(settings)) as replica:
        assert (await replica.get(f"{CALIBRATIONS}/{body['id']}")).json() == body
        there = await replica.post(f"{CALIBRATIONS}/{body['id']}/predictions", json=asked)
    assert there.json() == here.json()


async def test_lost_scores_are_gone_and_the_number_is_limited(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    values, labels = logits(20)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    for path in (tmp_path / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    answer = await client.post(f"{CALIBRATIONS}/{body['id']}/predictions", json={"logits": values.tolist()})
    assert answer.status_code == 410
    for _ in range(RESOURCES_LIMIT - 1):
        await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    full = await client.post(CALIBRATIONS, json={"logits": values.tolist(), "labels": labels.tolist()})
    assert full.status_code == 409


GOOD: dict[str, Any] = {"logits": [[1.0, 0.0], [0.0, 1.0]], "labels": [0, 1]}
EVEN = {"probabilities": [[0.5, 0.5], [0.4, 0.6]], "labels": [0, 1]}
LINE = {"kind": "regression", "predictions": [1.0, 2.0], "targets": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**GOOD, "labels": [0, 2]}, "/body/labels"),
        ({**GOOD, "labels": [0, -1]}, "/body/labels"),
        ({**GOOD, "labels": [0, 0.5]}, "/body/labels"),
        ({**GOOD, "labels": [0]}, "/body/labels"),
        ({**GOOD, "labels": ["a", "b"]}, "/body/labels"),
        ({"logits": GOOD["logits"]}, "/body/labels"),
        ({"labels": [0, 1]}, "/body/logits"),
        ({**GOOD, **EVEN}, "/body/logits"),
        ({**GOOD, "logits": [[1.0], [0.0]]}, "/body/logits"),
        ({**GOOD, "logits": [[1.0, 0.0], [0.0]]}, "/body/logits"),
        ({**GOOD, "logits": [[1.0, None], [0.0, 1.0]]}, "/body/logits"),
        ({**GOOD, "logits": [1.0, 0.0]}, "/body/logits"),
        ({**GOOD, "logits": 3}, "/body/logits"),
        ({**EVEN, "probabilities": [[0.5, 0.6], [0.4, 0.6]]}, "/body/probabilities"),
        ({**EVEN, "probabilities": [[1.5, -0.5], [0.4, 0.6]]}, "/body/probabilities"),
        ({**GOOD, "alpha": [0]}, "/body/alpha/0"),
        ({**GOOD, "alpha": [0.1, 1]}, "/body/alpha/1"),
        ({**GOOD, "alpha": []}, "/body/alpha"),
        ({**GOOD, "score": "best"}, "/body/score"),
        ({**GOOD, "method": "best"}, "/body/method"),
        ({**GOOD, "scores": "thr"}, "/body/scores"),
        ({**GOOD, "method": "weighted"}, "/body/weights"),
        ({**GOOD, "method": "weighted", "weights": [0.0, 0.0]}, "/body/weights"),
        ({**GOOD, "method": "weighted", "weights": [1.0, 1e-200]}, "/body/weights"),
        ({**GOOD, "method": "weighted", "weights": [1.0]}, "/body/weights"),
        ({**GOOD, "weights": [1.0, 1.0]}, "/body/weights"),
        ({**GOOD, "method": "group"}, "/body/groups"),
        ({**GOOD, "method": "group", "groups": [0.5, 1.0]}, "/body/groups"),
        ({**GOOD, "method": "clustered", "clusters": 2}, "/body"),
        ({**EVEN, "score": "entmax"}, "/body/score"),
        ({**GOOD, "targets": [1.0, 2.0]}, None),
        ({**LINE, "targets": [1.0]}, "/body/targets"),
        ({**LINE, "score": "cqr"}, None),
        ({**LINE, "score": "normalised", "difficulty": [1.0, 0.0]}, "/body/difficulty"),
        ({**LINE, "weights": [1.0, -1.0]}, "/body/weights"),
        ({**LINE, "groups": ["a"]}, "/body/groups"),
        ({**LINE, "penalty": 1}, "/body/penalty"),
        ({"kind": "rank"}, "/body/kind"),
    ],
)
async def test_what_is_refused(client: httpx.AsyncClient, body: dict[str, Any], pointer: str | None) -> None:
    answer = await client.post(CALIBRATIONS, json=body)
    assert answer.status_code == 422, answer.text
    assert pointers(answer)
    if pointer is not None:
        assert pointers(answer) == [pointer]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e101])
async def test_values_that_are_not_finite(client: httpx.AsyncClient, bad: float) -> None:
    values, labels = logits(300)
    values[211, 3] = bad
    answer = await client.post(CALIBRATIONS, files={"logits": npy(values), "labels": npy(labels)})
    assert answer.status_code == 422
    assert pointers(answer) == ["/body/logits"]
    assert "[211, 3]" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"\x80\x04K\x01.", 415),
        (b"%PDF-1.7", 415),
        (b"\x89PNG\r\n\x1a\n", 415),
        (b"", 422),
        (b"1,2\n3,x\n", 422),
        (b"1,2\n3\n", 422),
        (b"\xff\xfe\x00", 415),
        (npy(np.array([[True, False]])), 422),
        (npy(np.zeros((2, 2, 2))), 422),
        (npy(np.zeros((2, 2)))[:-3], 422),
        (b"PAR1 and nothing else", None),
    ],
)
async def test_files_that_are_no_tables(client: httpx.AsyncClient, content: bytes, status: int | None) -> None:
    answer = await client.post(CALIBRATIONS, files={"logits": ("x", content), "labels": npy(np.array([0, 1]))})
    # Without its reader Parquet is 415, with it this file is damaged.
    assert answer.status_code in ({status} if status else {415, 422}), answer.text
    assert pointers(answer) == ["/body/logits"]


async def test_bodies_that_are_no_requests(client: httpx.AsyncClient) -> None:
    assert (
        await client.post(CALIBRATIONS, content=b"{", headers={"Content-Type": "application/json"})
    ).status_code == 400
    assert (
        await client.post(CALIBRATIONS, content=b"[]", headers={"Content-Type": "application/json"})
    ).status_code == 422
    assert (await client.post(CALIBRATIONS, content=b"x", headers={"Content-Type": "text/plain"})).status_code == 415


async def test_limits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_CONFORMAL_VALUES_LIMIT", "50")
    monkeypatch.setenv("FACET_CONFORMAL_UPLOAD_LIMIT_BYTES", "10000")
    tight = settings.model_copy(update={"upload_limit_bytes": 5_000})
    values, labels = logits(11)
    async with running(create_app(tight)) as client:
        many = await client.post(CALIBRATIONS, files={"logits": npy(values), "labels": npy(labels)})
        assert (many.status_code, pointers(many)) == (413, ["/body/logits"])
        listed = await client.post(CALIBRATIONS, json={"logits": values.tolist(), "labels": labels.tolist()})
        assert listed.status_code == 413
        # This route takes larger bodies than others do, and not endless ones.
        wider = await client.post(CALIBRATIONS, files={"logits": npy(np.zeros((10, 80)))})
        assert (wider.status_code, pointers(wider)) == (413, ["/body/logits"])
        assert (await client.post(CALIBRATIONS, content=b"x" * 10_001)).status_code == 413
        assert (await client.post("/v1/uncertainty/explanations", content=b"x" * 5_001)).status_code == 413


async def test_predictions_refuse_what_was_not_calibrated(client: httpx.AsyncClient) -> None:
    values, labels = logits(20)
    digests = {"model_name": "mine", "model_sha256": "a" * 64}
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), **digests)
    route = f"{CALIBRATIONS}/{body['id']}/predictions"
    other = await client.post(route, json={"logits": values[:, :4].tolist()})
    assert other.status_code == 409
    assert "5 classes" in other.json()["detail"]
    replaced = await client.post(route, json={"logits": values.tolist(), "model_sha256": "b" * 64})
    assert replaced.status_code == 409
    assert "a" * 64 in replaced.json()["detail"]
    assert "b" * 64 in replaced.json()["detail"]
    assert (await client.post(route, json={"logits": values.tolist(), "model_sha256": "a" * 64})).status_code == 200
    for wrong in (
        {"probabilities": values.tolist()},
        {"logits": values.tolist(), "groups": [1] * 20},
        {"logits": values.tolist(), "weights": [1.0] * 20},
        {"logits": values.tolist(), "alpha": [2]},
        {},
    ):
        answer = await client.post(route, json=wrong)
        assert answer.status_code == 422, answer.text
        assert pointers(answer)
    assert (await client.post(route, json={}, headers={"Accept": "text/html"})).status_code == 406
    pictures = await client.post(route, files={"file": b"x"})
    assert pictures.status_code == 409
    assert "posted values" in pictures.json()["detail"]


async def test_neighbours_take_features(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(4)
    labels = random.integers(0, 3, 180)
    features = random.normal(size=(180, 4)) + 3 * np.eye(3, 4)[labels]
    posted = {
        "features": features[90:].tolist(), "labels": labels[90:].tolist(),
        "training_features": features[:90].tolist(), "training_labels": labels[:90].tolist(),
    }  # fmt: skip
    body = await calibrated(client, score="knn", neighbours=3, **posted)
    assert (body["inputs"], body["classes"]) == ("features", 3)
    route = f"{CALIBRATIONS}/{body['id']}"
    answer = await client.post(f"{route}/predictions", json={"features": np.eye(3, 4).tolist(), "force_top1": True})
    assert answer.status_code == 200, answer.text
    for label, item in enumerate(answer.json()["items"]):
        assert label in item["sets"][0]["labels"]
    evaluated = await client.post(f"{route}/evaluations", json={name: posted[name] for name in ("features", "labels")})
    assert evaluated.json()["coverage"]["coverage"] >= 0.9
    short = await client.post(f"{route}/predictions", json={"features": [[0.0, 1.0]]})
    assert (short.status_code, pointers(short)) == (422, ["/body/features"])
