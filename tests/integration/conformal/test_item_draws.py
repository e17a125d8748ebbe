"""The draw of an item is its own: items asked one by one are covered as often as in one batch."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from services.uncertainty.conformal.application.calibration_fit import fit_items
from services.uncertainty.conformal.application.classification_items import Items
from services.uncertainty.conformal.application.item_draws import draw_by_content
from services.uncertainty.conformal.application.prediction import draw_for_items, predict_sets
from services.uncertainty.conformal.methods.classification.calibration import Calibration
from services.uncertainty.conformal.schemas.calibrations import ClassificationOptions
from services.uncertainty.conformal.schemas.predictions import PredictionOptions
from tests.integration.conformal.conftest import CALIBRATIONS, calibrated

COUNT = 1000
RANDOMISED = ("aps", "raps", "saps", "topk")


def ranked(count: int, *, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits of five classes; the label is the best of them with 60 %, the second best with 38 %."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 5))
    order = np.argsort(-values, axis=1)
    place = random.choice(5, count, p=[0.6, 0.38, 0.01, 0.005, 0.005])
    return values, order[np.arange(count), place]


def share_covered(items: Items, options: PredictionOptions, alpha: float, score: str, *, single: bool) -> float:
    """Coverage of the items, each as a request of its own or all as one."""
    values, labels = ranked(COUNT, seed=1)
    fitted = fit_items(
        Items(name="logits", inputs=values, labels=labels), ClassificationOptions.model_validate({"score": score})
    )
    calibration = fitted.calibration
    assert isinstance(calibration, Calibration)
    assert items.labels is not None
    step = 1 if single else len(items.labels)
    hits = 0
    for start in range(0, len(items.labels), step):
        part = Items(name="logits", inputs=items.inputs[start : start + step])
        draws = draw_for_items(calibration, part, options, version="sha256:1")
        (sets,) = predict_sets(calibration, part, options, [alpha], draws).sets
        hits += int(sets[np.arange(len(sets)), items.labels[start : start + step]].sum())
    return hits / len(items.labels)


@pytest.mark.parametrize("score", RANDOMISED)
@pytest.mark.parametrize(("alpha", "options"), [(0.2, {}), (0.3, {}), (0.3, {"seed": 0}), (0.3, {"smoothed": True})])
def test_one_by_one_is_covered_as_promised(score: str, alpha: float, options: dict[str, Any]) -> None:
    """Fails with one draw for all requests: topk at 0.3 covered 0.60, at 0.2 0.98."""
    values, labels = ranked(COUNT, seed=2)
    items = Items(name="logits", inputs=values, labels=labels)
    asked = PredictionOptions.model_validate(options)
    single = share_covered(items, asked, alpha, score, single=True)
    assert single == share_covered(items, asked, alpha, score, single=False)
    # Both calibration and test items vary: four standard deviations of the Beta-Binomial share.
    assert abs(single - (1 - alpha)) < 4 * np.sqrt(alpha * (1 - alpha) * 2 / COUNT)


@pytest.mark.parametrize("score", RANDOMISED)
async def test_requests_of_one_item(client: httpx.AsyncClient, score: str) -> None:
    values, labels = ranked(600, seed=3)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), score=score, alpha=[0.3])
    route = f"{CALIBRATIONS}/{body['id']}/predictions"
    test, truth = ranked(150, seed=4)
    asked = {"p_values": True, "smoothed": True}
    whole = (await client.post(route, json={"logits": test.tolist(), **asked})).json()
    assert (whole["seed"], whole["first_item"], whole["draws"]) == (None, 0, "by-item")
    hits = 0
    for row, label, expected in zip(test.tolist(), truth.tolist(), whole["items"], strict=True):
        (item,) = (await client.post(route, json={"logits": [row], **asked})).json()["items"]
        assert {**item, "item": expected["item"]} == expected
        (one,) = item["sets"]
        assert [index for index, value in enumerate(item["p_values"]) if value > 0.3] == one["labels"]
        hits += label in one["labels"]
    assert abs(hits / 150 - 0.7) < 4 * np.sqrt(0.21 * (1 / 150 + 1 / 600))
    other = (await client.post(route, json={"logits": test.tolist(), "seed": 5, **asked})).json()
    assert other["seed"] == 5
    assert other["items"] != whole["items"]


async def test_calibrations_draw_by_their_data(client: httpx.AsyncClient) -> None:
    values, labels = ranked(60, seed=5)
    first = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), score="aps")
    again = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), score="aps")
    other = await calibrated(client, logits=(values + 1).tolist(), labels=labels.tolist(), score="aps")
    assert first["version"] == again["version"]
    assert first["options"]["seed"] == again["options"]["seed"] != other["options"]["seed"]
    assert (await calibrated(client, logits=values.tolist(), labels=labels.tolist(), seed=7))["options"]["seed"] == 7


async def test_equal_rows_are_said(client: httpx.AsyncClient) -> None:
    rows = [[0.7, 0.3], [0.4, 0.6]] * 20
    body = await calibrated(client, probabilities=rows, labels=[0, 1] * 20, score="aps")
    assert any("38 of 40 rows" in one for one in body["warnings"])


def test_draws_are_uniform_and_independent() -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 3))
    draws = draw_by_content(rows, version="v", seed=None, contents=None, by_repetition=False)
    for numbers in (draws.score, draws.smoothing):
        counts = np.histogram(numbers, 20, (0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 50
    assert abs(np.corrcoef(draws.score, draws.smoothing)[0, 1]) < 0.03
    same = draw_by_content(rows.astype(">f8"), version="v", seed=None, contents=None, by_repetition=False)
    np.testing.assert_array_equal(same.score, draws.score)


def test_images_draw_by_their_bytes() -> None:
    """A sure classifier answers the same row for many images."""
    rows = np.tile(np.array([[1.0, 0.0]], np.float32), (3, 1))
    draws = draw_by_content(rows, version="v", seed=None, contents=[b"a", b"b", b"a"], by_repetition=False)
    assert draws.score[0] == draws.score[2] != draws.score[1]
    apart = draw_by_content(rows, version="v", seed=None, contents=None, by_repetition=True)
    assert len(set(apart.score.tolist())) == 3
