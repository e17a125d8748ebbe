"""Risk control, Venn-Abers and predictive distributions over HTTP, against their definitions."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.isotonic import IsotonicRegression

from services.uncertainty.conformal.methods.risk.mask_losses import false_discovery_losses
from services.uncertainty.conformal.methods.risk.risk_control import (
    learn_then_test,
    risk_controlling_set,
    upper_risk_bound,
)
from tests.integration.conformal.conftest import pointers
from tests.support.capability import npy

RISKS = "/v1/uncertainty/risk-controls"
VENN_ABERS = "/v1/uncertainty/venn-abers"
DISTRIBUTIONS = "/v1/uncertainty/predictive-distributions"


async def test_expected_loss(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(0)
    grid = np.linspace(0, 1, 21)
    losses = np.clip(random.uniform(0, 1.1, (60, 1)) - grid, 0, 1)
    answer = await client.post(RISKS, json={"losses": losses.tolist(), "lambdas": grid.tolist(), "alpha": 0.1})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    bounds = (losses.sum(axis=0) + 1) / 61
    assert body["bounds"] == pytest.approx(bounds.tolist())
    assert body["lambda"] == pytest.approx(float(grid[np.argmax(bounds <= 0.1)]))
    assert body["n_required"] == 9


async def test_masks(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(1)
    truth = random.random((80, 8, 8)) < 0.3
    chances = np.clip(0.6 * truth + random.uniform(0, 0.5, truth.shape), 0, 1)
    files = {"probabilities": npy(chances.astype(np.float32)), "truth": npy(truth)}
    for procedure in ("crc", "rcps", "ltt"):
        answer = await client.post(RISKS, files=files, data={"procedure": procedure, "alpha": "0.2"})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        chosen = chances.astype(np.float32) >= 1 - body["lambda"]
        missed = np.mean([1 - (one & mark).sum() / mark.sum() for one, mark in zip(chosen, truth, strict=True)])
        assert missed <= 0.2
        assert body["risks"][body["lambdas"].index(body["lambda"])] == pytest.approx(missed)
        assert body["set_shares"][-1] == 1
    discoveries = await client.post(RISKS, files=files, data={"procedure": "crc", "loss": "false-discoveries"})
    assert (discoveries.status_code, pointers(discoveries)) == (422, ["/body/losses"])


async def test_p_values_of_learn_then_test(client: httpx.AsyncClient) -> None:
    losses = np.zeros((100, 2))
    losses[:4, 0] = 1
    answer = await client.post(
        RISKS, json={"losses": losses.tolist(), "lambdas": [0.0, 1.0], "alpha": 0.1, "procedure": "ltt", "delta": 0.05}
    )
    p_values = answer.json()["p_values"]
    hoeffding = np.exp(-100 * (0.04 * np.log(0.04 / 0.1) + 0.96 * np.log(0.96 / 0.9)))
    assert p_values[0] == pytest.approx(min(hoeffding, np.e * binom.cdf(4, 100, 0.1)))
    assert answer.json()["valid"] == [p_values[0] <= 0.05, True]


async def test_venn_abers_is_two_isotonic_fits(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(2)
    scores = random.normal(size=60).round(1)
    labels = (random.random(60) < 1 / (1 + np.exp(-2 * scores))).astype(int)
    asked = [-1.0, 0.05, 0.9]
    answer = await client.post(
        VENN_ABERS, json={"scores": scores.tolist(), "labels": labels.tolist(), "test_scores": asked}
    )
    assert answer.status_code == 200, answer.text
    for test, pair in zip(asked, answer.json()["pairs"], strict=True):
        for label, name in ((0, "p0"), (1, "p1")):
            fit = IsotonicRegression().fit([*scores, test], [*labels, label])
            assert pair[name] == pytest.approx(float(fit.predict([test])[0]), abs=1e-9)
        assert pair["p0"] <= pair["probability"] <= pair["p1"]


async def test_venn_abers_of_three_classes(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(3)
    rows = random.dirichlet([1, 1, 1], 90)
    labels = [int(random.choice(3, p=row)) for row in rows]
    asked = random.dirichlet([1, 1, 1], 5)
    body = {"probabilities": rows.tolist(), "labels": labels, "test_probabilities": asked.tolist()}
    for decomposition in ("one-against-one", "one-against-all"):
        answer = await client.post(VENN_ABERS, json={**body, "decomposition": decomposition})
        found = np.array(answer.json()["probabilities"])
        assert found.sum(axis=1) == pytest.approx(np.ones(5))
    wrong = await client.post(VENN_ABERS, json={**body, "test_probabilities": [[0.5, 0.5]]})
    assert pointers(wrong) == ["/body/test_probabilities"]


async def test_distributions(client: httpx.AsyncClient) -> None:
    residuals = np.arange(1, 20) - 10.0
    body = {
        "predictions": [0.0] * 19, "targets": residuals.tolist(), "test_predictions": [5.0],
        "quantiles": [0.01, 0.05, 0.5, 0.95], "values": [5.0], "test_targets": [5.0],
    }  # fmt: skip
    answer = await client.post(DISTRIBUTIONS, json=body)
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["distributions"]
    # Ranks 0.2, 1, 10 and 19 of 20: residuals -inf, -9, 0 and 9 on the prediction.
    assert one["quantiles"] == [None, -4.0, 5.0, 14.0]
    assert one["probabilities"] == [0.5]
    spread = np.abs(residuals[:, None] - residuals).mean() / 2
    assert one["crps"] == pytest.approx(np.abs(residuals).mean() - spread)
    alone = await client.post(DISTRIBUTIONS, json={**body, "difficulty": [1.0] * 19})
    assert pointers(alone) == ["/body/test_difficulty"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"losses": [[0.5]]}, "/body/lambdas"),
        ({"losses": [[2.0]], "lambdas": [1.0]}, "/body/losses"),
        ({"losses": [[0.1, 0.5]], "lambdas": [0.0, 1.0]}, "/body/losses"),
        ({"losses": [[0.5, 0.1]], "lambdas": [1.0, 0.0]}, "/body/lambdas"),
        ({"losses": [[0.5]], "lambdas": [1.0], "alpha": 1}, "/body/alpha"),
        ({"losses": [[0.5]], "lambdas": [1.0], "delta": 0}, "/body/delta"),
        ({"probabilities": [[0.5]]}, "/body/truth"),
        ({"probabilities": [[1.5]], "truth": [[1]]}, "/body/probabilities"),
        ({"probabilities": [[0.5]], "truth": [[2]]}, "/body/truth"),
        ({}, "/body/probabilities"),
    ],
)
async def test_what_is_refused(client: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    answer = await client.post(RISKS, json=body)
    assert (answer.status_code, pointers(answer)) == (422, [pointer]), answer.text


def _discoveries(count: int, *, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Masks of 64 pixels whose probabilities are true: a pixel of probability p is true with p."""
    random = np.random.default_rng(seed)
    chances = random.beta(0.4, 0.8, (count, 64))
    return chances, random.random(chances.shape) < chances


@pytest.mark.parametrize("correction", ["fixed-sequence", "bonferroni"])
async def test_false_discoveries_answer_the_largest_valid_set(client: httpx.AsyncClient, correction: str) -> None:
    """Fails with the sequence from the whole picture on: nothing was valid, or the empty set was answered."""
    chances, truth = _discoveries(300, seed=0)
    files = {"probabilities": npy(chances), "truth": npy(truth)}
    asked = {"procedure": "ltt", "loss": "false-discoveries", "alpha": "0.25", "correction": correction}
    body = (await client.post(RISKS, files=files, data=asked)).json()
    valid = np.flatnonzero(body["valid"])
    index = body["lambdas"].index(body["lambda"])
    assert index == valid[-1]
    assert body["set_shares"][index] > 0.1
    assert body["risks"][index] <= 0.25
    assert body["p_values"][index] <= 0.1
    assert body["warnings"] == []
    impossible = (await client.post(RISKS, files=files, data={**asked, "alpha": "0.001"})).json()
    assert impossible["lambda"] is None or "empty" in impossible["warnings"][0]


async def test_the_sequence_can_be_said_of_posted_losses(client: httpx.AsyncClient) -> None:
    losses = np.zeros((200, 4))
    losses[:100, 3] = 1
    losses[:, 2] = 0.01
    body = {"losses": losses.tolist(), "lambdas": [0, 1, 2, 3], "procedure": "ltt"}
    descending = (await client.post(RISKS, json=body)).json()
    assert descending["lambda"] is None
    ascending = (await client.post(RISKS, json={**body, "sequence": "ascending"})).json()
    assert (ascending["lambda"], ascending["valid"]) == (2.0, [True, True, True, False])
    refused = await client.post(RISKS, json={**body, "procedure": "crc", "sequence": "ascending"})
    assert pointers(refused) == ["/body/sequence"]


def test_false_discoveries_are_controlled() -> None:
    """Monte Carlo: the true rate at the answered lambda exceeds alpha in at most a share delta of calibrations."""
    grid, alpha, delta = np.linspace(0, 1, 51), 0.25, 0.1
    fresh = false_discovery_losses(*_discoveries(20_000, seed=1), grid).mean(axis=0)
    worse, sizes = 0, []
    for seed in range(200):
        losses = false_discovery_losses(*_discoveries(100, seed=100 + seed), grid)
        valid = learn_then_test(losses, grid, alpha, delta=delta, order=np.arange(51)).valid
        chosen = int(np.flatnonzero(valid)[-1])
        sizes.append(chosen)
        worse += bool(fresh[chosen] > alpha)
    assert worse <= binom.ppf(0.999, 200, delta)
    assert np.median(sizes) > 10, "sets with something in them"


def test_the_bound_of_rcps_is_its_p_value() -> None:
    """The column that the vectorised test finds is that of the upper bounds, one by one."""
    random = np.random.default_rng(4)
    for _ in range(30):
        losses = np.sort(random.random((60, 12)), axis=1)[:, ::-1] * random.random()
        grid = np.linspace(0, 1, 12)
        bounds = np.array([upper_risk_bound(float(risk), count=60, delta=0.1) for risk in losses.mean(axis=0)])
        missed = np.flatnonzero(bounds >= 0.2)
        expected = 0 if not len(missed) else int(missed[-1]) + 1
        assert risk_controlling_set(losses, grid, 0.2, delta=0.1) == (expected if expected < 12 else None)
