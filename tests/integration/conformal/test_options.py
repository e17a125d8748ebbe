"""What nothing would look at is refused with its place, in every route; defaults that forms send are not."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from services.uncertainty.conformal.schemas.calibrations import ClassificationOptions, RegressionOptions
from services.uncertainty.conformal.schemas.controls import RiskOptions
from services.uncertainty.conformal.schemas.monitors import MonitorOptions
from services.uncertainty.conformal.schemas.streams import StreamOptions
from tests.integration.conformal.conftest import CALIBRATIONS, calibrated, logits, pointers

PREFIX = "/v1/uncertainty"
VALUES, LABELS = logits(60, 3)
ITEMS = {"logits": VALUES.tolist(), "labels": LABELS.tolist()}
POINTS = {"kind": "regression", "predictions": [0.0] * 30, "targets": np.linspace(0, 1, 30).tolist()}
LOSSES = {"lambdas": [0, 1], "losses": [[1, 0]] * 30, "alpha": 0.5}


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        *(("calibrations", {**ITEMS, **body}, field) for body, field in (
            ({"score": "thr", "penalty": 0.5}, "penalty"),
            ({"score": "lac", "gamma": 1.5}, "gamma"),
            ({"score": "saps", "free_ranks": 3}, "free_ranks"),
            ({"score": "aps", "log": True}, "log"),
            ({"score": "margin", "randomised": False}, "randomised"),
            ({"score": "raps", "weight": 1}, "weight"),
            ({"score": "topk", "neighbours": 3}, "neighbours"),
            ({"method": "class", "with_labels": True}, "with_labels"),
            ({"method": "split", "clusters": 2, "cluster_share": 0.5}, "clusters"),
        )),
        ("calibrations", {**POINTS, "method": "group"}, "groups"),
        ("calibrations", {**POINTS, "method": "weighted"}, "weights"),
        ("calibrations", {**POINTS, "method": "split", "groups": ["a"] * 30}, "groups"),
        ("calibrations", {**POINTS, "method": "group", "groups": ["a"] * 30, "weights": [1] * 30}, "weights"),
        ("calibrations", {**POINTS, "method": "class"}, "method"),
        ("risk-controls", {**LOSSES, "procedure": "rcps", "bound": 2}, "bound"),
        ("risk-controls", {**LOSSES, "procedure": "crc", "delta": 0.2}, "delta"),
        ("risk-controls", {**LOSSES, "procedure": "crc", "sequence": "ascending"}, "sequence"),
        ("risk-controls", {**LOSSES, "procedure": "rcps", "correction": "bonferroni"}, "correction"),
        ("streams", {"method": "dtaci", "gamma": 0.1}, "gamma"),
        ("streams", {"method": "aci", "gammas": [0.1]}, "gammas"),
        ("streams", {"method": "agaci", "interval": 7}, "interval"),
        ("streams", {"method": "aci", "step_size": 0.2}, "step_size"),
        ("streams", {"method": "quantile-tracking", "gain": 2}, "gain"),
        ("monitors", {"observes": "p-values", "seed": 7}, "seed"),
        ("monitors", {"observes": "p-values", "calibration": "any"}, "calibration"),
        ("venn-abers", {"scores": [0, 1], "labels": [0, 1], "test_scores": [0], "decomposition": "one-against-all"},
         "decomposition"),
    ],
)  # fmt: skip
async def test_options_of_another_choice(
    client: httpx.AsyncClient, route: str, body: dict[str, Any], field: str
) -> None:
    answer = await client.post(f"{PREFIX}/{route}", json=body)
    assert (answer.status_code, pointers(answer)[0]) == (422, f"/body/{field}"), answer.text


async def test_defaults_of_all_options_are_taken(client: httpx.AsyncClient) -> None:
    """Swagger UI and other forms send every field, used or not."""
    for model, route, body in (
        (ClassificationOptions, "calibrations", ITEMS),
        (RegressionOptions, "calibrations", POINTS),
        (RiskOptions, "risk-controls", {**LOSSES, "procedure": "rcps"}),
        (StreamOptions, "streams", {}),
        (MonitorOptions, "monitors", {"observes": "p-values"}),
    ):
        defaults = {name: one.default for name, one in model.model_fields.items() if name != "kind"}
        sent = {**{name: value for name, value in defaults.items() if value is not None}, **body}
        answer = await client.post(f"{PREFIX}/{route}", json=sent)
        assert answer.is_success, answer.text


@pytest.mark.parametrize(
    ("arrays", "method", "answered"),
    [
        ({}, "split", "split"),
        ({"groups": ["a", "b"] * 15}, "group", "group"),
        ({"weights": [1, 2] * 15}, "weighted", "weighted"),
    ],
)
async def test_the_method_of_a_regression_can_be_named(
    client: httpx.AsyncClient, arrays: dict[str, Any], method: str, answered: str
) -> None:
    named = await calibrated(client, **POINTS, **arrays, method=method)
    unnamed = await calibrated(client, **POINTS, **arrays)
    assert named["method"] == unnamed["method"] == answered
    assert named["version"] == unnamed["version"]


@pytest.mark.parametrize("option", [{"p_values": True}, {"force_top1": True}, {"smoothed": True}, {"seed": 3}])
async def test_intervals_have_no_options_of_sets(client: httpx.AsyncClient, option: dict[str, Any]) -> None:
    route = f"{CALIBRATIONS}/{(await calibrated(client, **POINTS))['id']}"
    [name] = option
    answer = await client.post(f"{route}/predictions", json={"predictions": [0.0], **option})
    assert (answer.status_code, pointers(answer)) == (422, [f"/body/{name}"])
    if name in {"force_top1", "seed"}:
        answer = await client.post(f"{route}/evaluations", json={"predictions": [0.0], "targets": [0.0], **option})
        assert (answer.status_code, pointers(answer)) == (422, [f"/body/{name}"])


async def test_what_is_known_of_items_is_not_asked(client: httpx.AsyncClient) -> None:
    """Truths belong to evaluations; predictions refuse them and document none."""
    sets, intervals = (await calibrated(client, **ITEMS))["id"], (await calibrated(client, **POINTS))["id"]
    for identifier, body, field in (
        (sets, {**ITEMS}, "labels"),
        (sets, {"logits": VALUES.tolist(), "class_names": ["a", "b", "c"]}, "class_names"),
        (intervals, {"predictions": [0.0], "targets": [0.0]}, "targets"),
    ):
        answer = await client.post(f"{CALIBRATIONS}/{identifier}/predictions", json=body)
        assert (answer.status_code, pointers(answer)) == (422, [f"/body/{field}"])
    slabs = {"predictions": [0.0], "targets": [0.0], "slab_features": [[1.0], [2.0]]}
    answer = await client.post(f"{CALIBRATIONS}/{intervals}/evaluations", json=slabs)
    assert (answer.status_code, pointers(answer)) == (422, ["/body/slab_features"])
    document = (await client.get("/openapi.json")).json()
    path = "/v1/uncertainty/calibrations/{calibration_id}"
    for content in document["paths"][f"{path}/predictions"]["post"]["requestBody"]["content"].values():
        assert not {"labels", "targets", "class_names"} & set(content["schema"]["properties"])


async def test_a_model_that_is_stated_by_its_version_alone(client: httpx.AsyncClient) -> None:
    body = await calibrated(client, **ITEMS, model_version="2.1")
    assert body["model"]["version"] == "2.1"


async def test_groups_may_be_texts(client: httpx.AsyncClient) -> None:
    names = np.array(["north", "south", "7"])[np.arange(60) % 3]
    numbers = np.arange(60) % 3
    by_text = await calibrated(client, **ITEMS, method="group", groups=names.tolist())
    by_number = await calibrated(client, **ITEMS, method="group", groups=numbers.tolist())
    assert [cell["cell"] for cell in by_text["cells"]] == ["group 7", "group north", "group south"]
    assert {one["q"] for cell in by_text["cells"] for one in cell["thresholds"]} == {
        one["q"] for cell in by_number["cells"] for one in cell["thresholds"]
    }
    asked = {"logits": VALUES[:3].tolist()}
    first = await client.post(f"{CALIBRATIONS}/{by_text['id']}/predictions", json={**asked, "groups": [*names[:3]]})
    second = await client.post(f"{CALIBRATIONS}/{by_number['id']}/predictions", json={**asked, "groups": [0, 1, 2]})
    assert first.json()["items"] == second.json()["items"]
    # A batch whose groups all look like numbers is compared with texts all the same.
    alone = await client.post(
        f"{CALIBRATIONS}/{by_text['id']}/predictions", json={"logits": VALUES[2:3].tolist(), "groups": [7]}
    )
    assert alone.json()["items"][0]["sets"] == first.json()["items"][2]["sets"]


@pytest.mark.parametrize("kind", ["classification", "regression"])
async def test_unknown_groups_are_said(client: httpx.AsyncClient, kind: str) -> None:
    own = {**ITEMS, "method": "group"} if kind == "classification" else POINTS
    count = 60 if kind == "classification" else 30
    route = f"{CALIBRATIONS}/{(await calibrated(client, **own, groups=[1, 2] * (count // 2)))['id']}"
    item = {"logits": VALUES[:3].tolist()} if kind == "classification" else {"predictions": [0.0] * 3}
    truth = {"labels": LABELS[:3].tolist()} if kind == "classification" else {"targets": [0.0] * 3}
    for groups, warned in (([1, 2, 1], False), ([1, 9, 9], True)):
        for answer in (
            await client.post(f"{route}/predictions", json={**item, "groups": groups}),
            await client.post(f"{route}/evaluations", json={**item, **truth, "groups": groups}),
        ):
            said = [one for one in answer.json()["warnings"] if "groups without calibration items: 9" in one]
            assert bool(said) == warned
            assert all(one.startswith("2 of 3 items") for one in said)


@pytest.mark.parametrize("way", ["files", "json"])
async def test_forms_hold_as_much_as_the_schema_allows(client: httpx.AsyncClient, way: str) -> None:
    """A list of 99 quantiles and one of 99 values are 198 fields of a form; 64 were taken."""
    levels = np.linspace(0.005, 0.995, 99).round(4).tolist()
    arrays = {"predictions": [0.0] * 30, "targets": np.arange(30.0).tolist(), "test_predictions": [1.0]}
    route = f"{PREFIX}/predictive-distributions"
    asked = {"quantiles": levels, "values": levels}
    expected = await client.post(route, json={**arrays, **asked})
    parts: list[Any] = [(name, (None, str(value))) for name, values in asked.items() for value in values]
    parts += [(name, (None, ",".join(map(str, values)))) for name, values in arrays.items()]
    answer = await client.post(route, files=parts) if way == "files" else expected
    assert answer.status_code == 200, answer.text
    assert answer.json() == expected.json()
    assert len(answer.json()["distributions"][0]["quantiles"]) == 99
    too_many = await client.post(route, files=[*parts, *[("quantiles", (None, "0.5"))] * 200])
    assert too_many.status_code == 400


@pytest.mark.parametrize("scores", [[], [4.0] * 30])
async def test_tracking_by_default_learns_a_constant_residual(client: httpx.AsyncClient, scores: list[float]) -> None:
    made = await client.post(f"{PREFIX}/streams", json={"method": "quantile-tracking", "scores": scores})
    observations = [{"prediction": 1.0, "label": 5.0}] * 300
    route = f"{PREFIX}/streams/{made.json()['id']}/observations"
    answer = (await client.post(route, json={"observations": observations})).json()
    assert 0.85 < answer["coverage"] < 0.92
    late = [one["missed"] for one in answer["observations"][100:]]
    assert 0.05 < np.mean(late) < 0.15


async def test_documented_bodies_are_taken(client: httpx.AsyncClient) -> None:
    """Those that Swagger UI fills in: of every route that reads arrays, in JSON, without files."""
    document = (await client.get("/openapi.json")).json()
    bodies = {
        path: item["post"]["requestBody"]["content"]["application/json"]
        for path, item in document["paths"].items()
        if "multipart/form-data" in item.get("post", {}).get("requestBody", {}).get("content", {})
        and item["post"]["tags"] == ["conformal"]
    }
    assert len(bodies) == 7
    made = {}
    for kind in ("calibration", "monitor"):
        path = f"{PREFIX}/{kind}s"
        answer = await client.post(path, json=bodies.get(path, {}).get("example", {}))
        assert answer.status_code == 201, answer.text
        made[f"{kind}_id"] = answer.json()["id"]
    for path, body in bodies.items():
        answer = await client.post(path.format(**made), json=body["example"])
        assert answer.is_success, (path, answer.text)
        for schema in body["schema"].get("oneOf", [body["schema"]]):
            assert "file" not in schema["properties"]
