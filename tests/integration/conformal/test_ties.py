"""Where scores can tie, statements are one-sided: nothing false is said of data that is exchangeable."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.uncertainty.conformal.methods.classification.calibration import calibrate
from services.uncertainty.conformal.methods.scores import APS, RAPS, Transform
from services.uncertainty.conformal.methods.ties import count_tied, find_ties
from tests.integration.conformal.conftest import CALIBRATIONS, calibrated, logits

VOTES = 10


def votes(count: int, *, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vote shares of ten trees over three classes, and labels drawn by sharper shares."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(VOTES, [0.6, 0.3, 0.1], count)
    shuffled = random.permuted(counts, axis=1)
    chances = shuffled**2 / (shuffled**2).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return shuffled / VOTES, np.minimum(labels, 2)


@pytest.mark.parametrize(
    ("score", "options"),
    [("thr", {}), ("topk", {"randomised": False}), ("aps", {"randomised": False}), ("margin", {})],
)
async def test_tied_scores(client: httpx.AsyncClient, score: str, options: dict[str, Any]) -> None:
    """Fails with two-sided statements: exchangeable items were called unlike the calibration (p of 1e-12)."""
    rows, labels = votes(1000, seed=1)
    body = await calibrated(client, probabilities=rows.tolist(), labels=labels.tolist(), score=score, **options)
    (threshold,) = body["cells"][0]["thresholds"]
    assert threshold["tied"] > 1
    assert threshold["one_sided"]
    low, high = threshold["coverage_band"]
    assert (low, high) == (pytest.approx(stats.beta(901, 100).ppf(0.05)), 1.0)
    assert "at most 1 - alpha" not in body["guarantee"]
    assert any("scores tie" in one for one in body["warnings"])
    test, truth = votes(2000, seed=2)
    route = f"{CALIBRATIONS}/{body['id']}"
    posted = {"probabilities": test.tolist(), "labels": truth.tolist()}
    coverage = (await client.post(f"{route}/evaluations", json=posted)).json()["coverage"]
    assert coverage["one_sided"]
    law = stats.betabinom(2000, 901, 100)
    assert coverage["p_value"] == pytest.approx(law.cdf(coverage["covered"]))
    assert coverage["p_value"] > 0.01
    assert coverage["expected_hits"] == [int(law.ppf(0.05)), 2000]
    asked = {"probabilities": test.tolist(), "smoothed": True}
    items = (await client.post(f"{route}/predictions", json=asked)).json()["items"]
    hits = sum(int(label) in item["sets"][0]["labels"] for label, item in zip(truth, items, strict=True))
    assert abs(hits / 2000 - 0.9) < 4 * np.sqrt(0.09 * (1 / 1000 + 1 / 2000))


async def test_scores_without_ties_stay_two_sided(client: httpx.AsyncClient) -> None:
    values, labels = logits(200)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    (threshold,) = body["cells"][0]["thresholds"]
    assert (threshold["tied"], threshold["one_sided"]) == (1, False)
    assert threshold["coverage_band"] == pytest.approx(list(stats.beta(181, 20).interval(0.95)))
    assert "at most 1 - alpha" in body["guarantee"]


async def test_whole_numbers_of_a_regression(client: httpx.AsyncClient) -> None:
    random = np.random.default_rng(3)
    targets = random.integers(-1, 2, 800)
    body = await calibrated(
        client, kind="regression", predictions=[0] * 400, targets=targets[:400].tolist(), alpha=[0.3]
    )
    assert body["cells"][0]["thresholds"][0]["one_sided"]
    assert "at most 1 - alpha" not in body["guarantee"]
    answer = await client.post(
        f"{CALIBRATIONS}/{body['id']}/evaluations", json={"predictions": [0] * 400, "targets": targets[400:].tolist()}
    )
    coverage = answer.json()["coverage"]
    assert (coverage["coverage"], coverage["p_value"], coverage["one_sided"]) == (1.0, pytest.approx(1.0), True)


async def test_filled_sets_are_tested_for_too_few_only(client: httpx.AsyncClient) -> None:
    values, labels = logits(400)
    body = await calibrated(client, logits=(9 * values[:200]).tolist(), labels=labels[:200].tolist(), alpha=[0.6])
    posted = {"logits": (9 * values[200:]).tolist(), "labels": labels[200:].tolist(), "force_top1": True}
    coverage = (await client.post(f"{CALIBRATIONS}/{body['id']}/evaluations", json=posted)).json()["coverage"]
    assert coverage["one_sided"]
    assert coverage["p_value"] > 0.5


def test_far_ties_do_not_count() -> None:
    scores = np.sort(np.concatenate([np.zeros(500), np.random.default_rng(0).random(500)]))
    assert not find_ties(scores, 0.1).near
    assert find_ties(scores, 0.5).near
    assert count_tied(scores) == 500
    assert find_ties(scores[:3], 0.1).equal == 0


@pytest.mark.parametrize("score", [APS, RAPS])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_rows_add_up_to_exactly_one(score: type[APS] | type[RAPS], classes: int) -> None:
    """Fails with sums of 1 up to rounding: the last label's score was 1 +- 2e-16, and rounding decided the sets."""
    random = np.random.default_rng(classes)
    values = random.normal(scale=3, size=(400, classes))
    last = values.argmin(axis=1)
    shares = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    for inputs, transform in (
        (values, Transform.SOFTMAX),
        (shares, Transform.IDENTITY),
        (shares.astype(np.float32), Transform.IDENTITY),
        (0.9995 * shares, Transform.IDENTITY),
    ):
        made = score(transform=transform, randomised=False)
        everything = made.of_all(inputs)
        assert set(everything[np.arange(400), last].tolist()) == {1.0}
        np.testing.assert_array_equal(made.of_labels(inputs, last), np.ones(400))
        assert made.sets(inputs, np.ones((1, 1))).all()
        np.testing.assert_array_equal(made.sets(inputs, np.array([[0.9]])), everything <= 0.9)


def test_shifted_logits_give_the_same_sets() -> None:
    random = np.random.default_rng(7)
    values = random.normal(size=(600, 2))
    labels = (random.random(600) < 0.5).astype(np.int64)
    for shift in (0.0, 3.7, 100.3):
        calibration = calibrate(APS(randomised=False), values[:200] + shift, labels[:200])
        sizes = calibration.sets(values[200:] + shift, 0.2).sum(axis=1)
        assert (sizes == 2).all(), shift
