"""Guarantees in words say what is proved: tried where they were once said and false."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from services.uncertainty.conformal.methods.online.adaptive_inference import OnlineMethod, create_aci, step
from services.uncertainty.conformal.methods.online.aggregated_aci import create_dtaci
from tests.integration.conformal.conftest import CALIBRATIONS, calibrated, logits

STREAMS = "/v1/uncertainty/streams"


def share_missed(state: OnlineMethod, steps: int) -> float:
    """Share of misses if each score lies just above the bound: the worst stream that there is."""
    missed = 0
    for _ in range(steps):
        bound = state.bounds()[1]
        value = bound + 1e-9 if np.isfinite(bound) else 0.0
        state, miss = step(state, below=value, above=value)
        missed += miss
    return missed / steps


def test_an_adversary_defeats_dtaci_and_not_aci() -> None:
    scores = np.random.default_rng(0).random(500).tolist()
    assert share_missed(create_dtaci(0.1, scores=scores), 1000) > 0.15
    assert share_missed(create_aci(0.1, gamma=0.05, scores=scores), 1000) < 0.13


async def test_dtaci_promises_no_long_run(client: httpx.AsyncClient) -> None:
    body = (await client.post(STREAMS, json={"method": "dtaci"})).json()
    assert "goes to alpha" not in body["guarantee"]
    assert "nothing is proved" in body["guarantee"]


async def test_rare_classes_of_clusters_have_no_band(client: httpx.AsyncClient) -> None:
    """Fails with the band of all items: the rare classes were covered 0.2 where 0.887 to 0.913 was stated."""
    values, labels = logits(1200, 6, seed=1)
    kept = (labels != 5) | (np.arange(1200) < 30)
    values, labels = values[kept], labels[kept]
    body = await calibrated(
        client, logits=values.tolist(), labels=labels.tolist(), method="clustered", clusters=2, cluster_share=0.4
    )
    cells = {cell["cell"]: cell["thresholds"][0] for cell in body["cells"]}
    assert cells["other classes"]["coverage_band"] is None
    assert cells["other classes"]["expected_coverage"] is None
    assert cells["cluster 0"]["coverage_band"] is not None
    assert "nothing is promised" in body["guarantee"]


async def test_many_examples_are_not_called_too_few(client: httpx.AsyncClient) -> None:
    values, labels = logits(1500, 4)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), method="clustered")
    (warning,) = [one for one in body["warnings"] if "clustered" in one]
    assert "method=class" in warning


async def test_ranked_classes_say_what_they_need(client: httpx.AsyncClient) -> None:
    """15 examples at alpha 0.1, one of them ranked third: the level left is 0.1 - 1/15, which 29 examples need."""
    values = np.zeros((45, 3))
    labels = np.repeat([0, 1, 2], 15)
    values[np.arange(45), labels] = np.linspace(1, 2, 45)
    values[0] = [-2.0, 1.0, 0.5]
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), method="rc3p")
    threshold = body["cells"][0]["thresholds"][0]
    assert (threshold["q"], threshold["rank_limit"], threshold["n_required"]) == (None, 1, 29)
    assert any("class 0 (15)" in one and "up to its rank limit" in one for one in body["warnings"])
    assert "No coverage of a finite sample is proved" in body["guarantee"]


@pytest.mark.parametrize("kind", ["classification", "regression"])
async def test_one_heavy_weight_is_said(client: httpx.AsyncClient, kind: str) -> None:
    values, labels = logits(200)
    weights = [1e9] + [1.0] * 199
    if kind == "classification":
        body = await calibrated(
            client, logits=values.tolist(), labels=labels.tolist(), method="weighted", weights=weights
        )
    else:
        body = await calibrated(
            client, kind=kind, predictions=values[:, 0].tolist(), targets=values[:, 1].tolist(), weights=weights
        )
    assert body["effective_n"] == pytest.approx(1, abs=1e-3)
    assert any("say no more than 1 equal ones" in one for one in body["warnings"])


async def test_both_sides_of_an_interval_need_twice_the_items(client: httpx.AsyncClient) -> None:
    values, _ = logits(12)
    body = await calibrated(
        client, kind="regression", asymmetric=True, predictions=values[:, 0].tolist(), targets=values[:, 1].tolist()
    )
    assert body["levels"][0]["n_required"] == 19
    assert {cell["thresholds"][0]["n_required"] for cell in body["cells"]} == {19}
    assert "all below (12), all above (12)" in body["warnings"][0]


@pytest.mark.parametrize("kind", ["classification", "regression"])
async def test_items_without_weight_are_as_if_left_out(client: httpx.AsyncClient, kind: str) -> None:
    """A density ratio of 0 is one: such items calibrate nothing."""
    values, labels = logits(200, 3, seed=4)
    targets = np.random.default_rng(0).normal(size=200)
    weights = np.where(np.arange(200) < 120, np.linspace(1, 2, 200), 0)

    def body(count: int) -> dict[str, Any]:
        if kind == "regression":
            own = {"kind": kind, "predictions": [0.0] * count, "targets": targets[:count].tolist()}
        else:
            own = {"method": "weighted", "logits": values[:count].tolist(), "labels": labels[:count].tolist()}
        return {**own, "weights": weights[:count].tolist()}

    whole, part = await calibrated(client, **body(200)), await calibrated(client, **body(120))
    asked = {"predictions": [0.0, 1.0]} if kind == "regression" else {"logits": values[:2].tolist()}
    sets = []
    for made in (whole, part):
        assert made["effective_n"] == pytest.approx(part["effective_n"])
        answer = await client.post(f"{CALIBRATIONS}/{made['id']}/predictions", json={**asked, "weights": [1.0, 0.0]})
        assert answer.status_code == 200, answer.text
        sets.append(answer.json()["points" if kind == "regression" else "items"])
    assert sets[0] == sets[1]
