"""Small requests make small work: what is out of proportion is refused with its figure before it is allocated."""

from __future__ import annotations

import io
import json
import math
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from services.uncertainty.conformal.application.costs import stoppable
from services.uncertainty.conformal.methods.scores import Entmax
from services.uncertainty.conformal.methods.venn_abers.binary import venn_abers
from services.uncertainty.conformal.methods.venn_abers.multiclass import class_venn_abers
from shared.runtime import compute_pool
from shared.runtime.cancellation import CancellationToken, Interrupted, interruptible
from shared.stores.owned_records import PAGE_LIMIT
from shared.stores.versioned_state import VersionedState, VersionedStates
from tests.integration.conformal.conftest import CALIBRATIONS, RESOURCES_LIMIT, calibrated, logits, pointers
from tests.support.capability import npy

ALLOWED_S, ALLOWED_MIB = 2.0, 256
TRIES = 3
YARDSTICK_S = 0.16
"""Processor time of `yardstick` on the machine that the limits of the service were set on, while it was quiet."""
DISTRIBUTIONS = "/v1/uncertainty/predictive-distributions"
MONITORS = "/v1/uncertainty/monitors"
STREAMS = "/v1/uncertainty/streams"
VENN_ABERS = "/v1/uncertainty/venn-abers"


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def slowness() -> float:
    """How many times the processor takes longer here and now, at least 1: one that shares a core with a busy one counts
    twice the time for the same work."""
    began = time.process_time()
    texts = [json.dumps({"item": item, "sets": [item, item + 1]}) for item in range(50_000)]
    np.sort(np.array([len(text) for text in texts] * 20))
    return max(1.0, (time.process_time() - began) / YARDSTICK_S)


async def timed_post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> httpx.Response:
    """Post, and check processor time and peak memory; what a busy machine slowed down is posted again."""
    before = peak_mib()
    for _ in range(TRIES):
        began = time.process_time()
        answer = await client.post(path, json=body)
        if (seconds := time.process_time() - began) < ALLOWED_S or (seconds := seconds / slowness()) < ALLOWED_S:
            break
    assert seconds < ALLOWED_S, (path, {**body, "logits": "..."}.keys(), answer.text[:300])
    assert peak_mib() - before < ALLOWED_MIB, (path, body.keys())
    assert answer.status_code in {200, 201, 413, 422}, answer.text[:500]
    return answer


def rows(random: np.random.Generator, count: int, width: int) -> list[list[int]]:
    table: list[list[int]] = random.integers(0, 10, (count, width)).tolist()
    return table


def levels(random: np.random.Generator) -> list[float]:
    chosen: list[float] = np.linspace(0.01, 0.9, int(random.choice([1, 3, 32]))).tolist()
    return chosen


def classification(random: np.random.Generator, score: str, method: str) -> dict[str, Any]:
    """A request of less than 100 kB for a classifier's calibration, with the numbers in any proportion."""
    width = int(random.choice([2, 50, 1000, 10_000]))
    count = max(2, 20_000 // width) if score != "knn" else int(random.choice([100, 3000]))
    body: dict[str, Any] = {"score": score, "method": method, "alpha": levels(random)}
    if score == "knn":
        trained = int(random.choice([100, 4000]))
        classes = int(random.choice([2, 100, trained]))
        body |= {
            "features": rows(random, count, 2), "training_features": rows(random, trained, 2),
            "training_labels": (np.arange(trained) % classes).tolist(), "neighbours": int(random.choice([1, 30, 1000])),
        }  # fmt: skip
        width = classes
    else:
        body["logits"] = rows(random, count, width)
    body["labels"] = random.integers(0, width, count).tolist()
    if score == "entmax":
        body["gamma"] = float(random.choice([1, 1.5, 2, 7]))
    if method == "group":
        body |= {"groups": random.integers(0, count, count).tolist(), "with_labels": bool(random.integers(2))}
    if method == "weighted":
        body["weights"] = random.integers(1, 9, count).tolist()
    if method == "clustered":
        body |= {"clusters": int(random.choice([2, 1000])), "cluster_share": 0.5}
    return body


@pytest.mark.parametrize("method", ["split", "class", "group", "clustered", "weighted", "rc3p"])
@pytest.mark.parametrize("score", ["thr", "aps", "saps", "margin", "knn", "entmax"])
async def test_options_of_small_requests(client: httpx.AsyncClient, score: str, method: str) -> None:
    random = np.random.default_rng(sum(map(ord, score + method)))
    for _ in range(2):
        body = classification(random, score, method)
        answer = await timed_post(client, CALIBRATIONS, body)
        if answer.status_code != 201:
            continue
        assert len(answer.content) < 2_000_000
        route = f"{CALIBRATIONS}/{answer.json()['id']}"
        items: dict[str, Any] = {
            name: body[name] for name in ("logits", "features", "groups", "weights") if name in body
        }
        asked = {"alpha": body["alpha"], "p_values": method != "rc3p"}
        await timed_post(client, f"{route}/predictions", {**items, **asked})
        features = {"slab_features": rows(random, len(body["labels"]), 2)}
        await timed_post(client, f"{route}/evaluations", {**items, **features, "labels": body["labels"]})
        await client.delete(route)


@pytest.mark.parametrize("procedure", ["crc", "ltt", "rcps"])
@pytest.mark.parametrize(("count", "grid"), [(20, 10_000), (15_000, 3_000), (15_000, 3)])
async def test_small_masks(client: httpx.AsyncClient, procedure: str, count: int, grid: int) -> None:
    lambdas = (np.arange(grid) / grid).round(4)
    body = {"probabilities": [[1]] * count, "truth": [[1]] * count, "lambdas": np.unique(lambdas).tolist()}
    await timed_post(client, "/v1/uncertainty/risk-controls", {**body, "procedure": procedure})


@pytest.mark.parametrize("decomposition", ["one-against-one", "one-against-all"])
@pytest.mark.parametrize(
    ("count", "classes", "tests"), [(900, 50, 16), (900, 50, 400), (2000, 10, 440), (2000, 10, 2000), (5000, 3, 6000)]
)
async def test_small_venn_abers(
    client: httpx.AsyncClient, count: int, classes: int, tests: int, decomposition: str
) -> None:
    row = [1, *[0] * (classes - 1)]
    body = {"probabilities": [row] * count, "labels": [0, 1] * (count // 2), "test_probabilities": [row] * tests}
    await timed_post(client, VENN_ABERS, {**body, "decomposition": decomposition})


def convex_labels(longest: int) -> list[int]:
    """Labels whose cumulative sum is a convex chain with as many vertices as whole numbers allow."""
    edges = {(width, rise) for width in range(1, longest) for rise in range(width + 1) if math.gcd(width, rise) == 1}
    ordered = sorted(edges, key=lambda edge: edge[1] / edge[0])
    return [label for width, rise in ordered for label in [0] * (width - rise) + [1] * rise]


@pytest.mark.parametrize("labels", [convex_labels(28), [0, 1] * 2500, [1] * 2500 + [0] * 2500])
@pytest.mark.parametrize("tests", [10, 9000])
async def test_small_venn_abers_of_two_classes(client: httpx.AsyncClient, labels: list[int], tests: int) -> None:
    """Hulls with many vertices: a test item that looked at all of them took a hundred times as long."""
    body = {"scores": [*range(len(labels))], "labels": labels, "test_scores": (np.arange(tests) % len(labels)).tolist()}
    assert (await timed_post(client, VENN_ABERS, body)).status_code == 200


@pytest.mark.parametrize(("count", "tests", "groups"), [(20_000, 10, 1), (100, 20_000, 1), (3000, 3000, 3000)])
async def test_small_distributions(client: httpx.AsyncClient, count: int, tests: int, groups: int) -> None:
    body: dict[str, Any] = {"predictions": [1] * count, "targets": [2] * count, "test_predictions": [1] * tests}
    if groups > 1:
        names = [str(one) for one in range(groups)]
        body |= {"groups": names, "test_groups": names, "test_targets": [1] * tests}
    ends = np.linspace(0, 1, 99).tolist()
    await timed_post(client, DISTRIBUTIONS, {**body, "quantiles": ends, "values": ends})


@pytest.mark.parametrize("method", ["aci", "agaci", "dtaci", "quantile-tracking", "pid"])
async def test_small_streams(client: httpx.AsyncClient, method: str) -> None:
    options = {"method": method, "scores": [1] * 10_000, "capacity": 10_000, "score": "direct"}
    if method in {"agaci", "dtaci"}:
        options["gammas"] = np.geomspace(0.001, 1, 64).tolist()
    made = await timed_post(client, STREAMS, options)
    answer = await timed_post(
        client, f"{STREAMS}/{made.json()['id']}/observations", {"observations": [{"score": 1}] * 1000}
    )
    if answer.status_code == 422:
        assert pointers(answer) == ["/body/observations"]
        assert "at most" in answer.json()["detail"]


def observed(random: np.random.Generator, name: str, count: int) -> dict[str, Any]:
    """Observations of a monitor, more or fewer than it takes at once."""
    values = random.integers(1, 100, count) / 100
    return {name: values.tolist()}


@pytest.mark.parametrize("bet", ["simple-jumper", "power-mixture", "histogram"])
@pytest.mark.parametrize("observes", ["scores", "p-values"])
async def test_small_monitors(client: httpx.AsyncClient, observes: str, bet: str) -> None:
    random = np.random.default_rng(len(bet))
    made = await timed_post(client, MONITORS, {"observes": observes, "bet": bet})
    route = f"{MONITORS}/{made.json()['id']}/observations"
    for count in (1, 1000, 15_000):
        answer = await timed_post(client, route, observed(random, observes.replace("-", "_"), count))
        assert answer.status_code == (200 if count <= 1000 else 422)
    if observes == "scores":
        answer = await timed_post(client, route, {"scores": [1] * 1000})
        assert answer.status_code == 200


async def test_observations_of_a_long_monitor_name_their_figure(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The series of the power mixture grows with what has been seen; a hundred million observations are set here."""
    made = (await client.post(MONITORS, json={"observes": "p-values", "bet": "power-mixture"})).json()["id"]
    read = VersionedStates.read

    async def read_late(self: VersionedStates, identifier: str, *, owner: str) -> VersionedState:
        state = await read(self, identifier, owner=owner)
        monitor = {**state.state["monitor"], "steps": 10**8, "memory": [-1e8]}
        return replace(state, state={**state.state, "monitor": monitor})

    monkeypatch.setattr(VersionedStates, "read", read_late)
    answer = await timed_post(client, f"{MONITORS}/{made}/observations", {"p_values": [0.5] * 1000})
    assert (answer.status_code, pointers(answer)) == (422, ["/body/p_values"])
    most = int(answer.json()["detail"].partition("at most ")[2].split()[0])
    fitting = await timed_post(client, f"{MONITORS}/{made}/observations", {"p_values": [0.5] * most})
    assert fitting.status_code == 200, fitting.text


@pytest.mark.parametrize(("score", "items"), [("knn", 1000), ("knn", 4000), ("entmax", 12), ("aps", 1000)])
async def test_labelled_items_of_a_monitor(client: httpx.AsyncClient, score: str, items: int) -> None:
    """Those of a costly score are refused before they are scored, as are more than a monitor takes."""
    random = np.random.default_rng(0)
    body: dict[str, Any] = {"score": score}
    if score == "knn":
        body |= {
            "features": random.random((50, 2)).tolist(), "training_features": random.random((4000, 2)).tolist(),
            "training_labels": (np.arange(4000) % 400).tolist(), "neighbours": 10,
            "labels": random.integers(0, 400, 50).tolist(),
        }  # fmt: skip
        posted = {"features": rows(random, items, 2)}
    else:
        width = 3000 if score == "entmax" else 10
        count = 12 if score == "entmax" else 1000
        body |= {"logits": rows(random, count, width), "labels": random.integers(0, width, count).tolist()}
        body |= {"gamma": 1.5} if score == "entmax" else {}
        posted = {"logits": rows(random, items * (2 if score == "entmax" else 1), width)}
    made = await calibrated(client, **body)
    monitor = (await timed_post(client, MONITORS, {"calibration": made["id"]})).json()["id"]
    [(name, values)] = posted.items()
    labels = random.integers(0, made["classes"], len(values)).tolist()
    answer = await timed_post(client, f"{MONITORS}/{monitor}/observations", {**posted, "labels": labels})
    if score == "aps":
        assert answer.status_code == 200
        return
    assert (answer.status_code, pointers(answer)) == (422, [f"/body/{name}"])
    assert " s; for so many posted numbers" in answer.json()["detail"] or "4000 items" in answer.json()["detail"]


async def test_a_full_page_of_large_monitors(client: httpx.AsyncClient) -> None:
    """Each remembers 50,000 scores; a page describes them one by one."""
    scores = np.abs(np.random.default_rng(0).normal(size=50_000))
    files = {"predictions": npy(np.zeros(50_000)), "targets": npy(scores)}
    made = await client.post(CALIBRATIONS, files=files, data={"kind": "regression"})
    for _ in range(RESOURCES_LIMIT):
        assert (await client.post(MONITORS, json={"calibration": made.json()["id"]})).status_code == 201
    before, began = peak_mib(), time.process_time()
    page = await client.get(MONITORS, params={"limit": RESOURCES_LIMIT})
    seconds = time.process_time() - began
    assert len(page.json()["monitors"]) == RESOURCES_LIMIT
    share = RESOURCES_LIMIT / PAGE_LIMIT
    assert (seconds < ALLOWED_S * share, peak_mib() - before < ALLOWED_MIB * share) == (True, True), seconds


async def test_many_groups_of_a_regression(client: httpx.AsyncClient) -> None:
    groups = [str(one) for one in range(8000)]
    body = {"kind": "regression", "predictions": [1] * 8000, "targets": [2] * 8000, "groups": groups}
    answer = await timed_post(client, CALIBRATIONS, body)
    assert answer.status_code == 201
    assert (len(answer.json()["cells"]), answer.json()["cells_total"]) == (100, 8000)
    route = f"{CALIBRATIONS}/{answer.json()['id']}/predictions"
    for levels_asked in (1, 32):
        asked = {"alpha": np.linspace(0.1, 0.9, levels_asked).tolist(), "groups": groups}
        await timed_post(client, route, {"predictions": [1] * 8000, **asked})
        await timed_post(client, route, {"predictions": [1], **asked, "groups": ["7"]})


async def test_labels_of_neighbours_are_ids(client: httpx.AsyncClient) -> None:
    """Fails with a class for each number up to the largest label: one label of 200000 took 12 GB."""
    features, _ = logits(200, 4)
    labels = np.where(np.arange(200) % 2, 10**12, 7)
    features[:, 0] += 5 * (np.arange(200) % 2)
    body = {
        "score": "knn", "features": features[:100].tolist(), "labels": labels[:100].tolist(), "neighbours": 3,
        "training_features": features[100:].tolist(), "training_labels": labels[100:].tolist(),
    }  # fmt: skip
    made = await timed_post(client, CALIBRATIONS, body)
    assert (made.status_code, made.json()["classes"], made.json()["class_labels"]) == (201, 2, [7, 10**12])
    route = f"{CALIBRATIONS}/{made.json()['id']}"
    answer = await client.post(f"{route}/predictions", json={"features": features[:40].tolist(), "force_top1": True})
    sets = [item["sets"][0]["labels"] for item in answer.json()["items"]]
    assert {label for one in sets for label in one} <= {7, 10**12}
    assert np.mean([int(label) in one for label, one in zip(labels, sets, strict=False)]) > 0.8
    wrong = await client.post(CALIBRATIONS, json={**body, "labels": [8] * 100})
    assert (wrong.status_code, pointers(wrong)) == (422, ["/body/labels"])


async def test_figures_are_named(client: httpx.AsyncClient) -> None:
    values, labels = logits(12, 3000)
    made = await calibrated(client, logits=values.round(1).tolist(), labels=labels.tolist(), score="entmax", gamma=1.5)
    answer = await client.post(f"{CALIBRATIONS}/{made['id']}/predictions", json={"logits": values.tolist() * 2})
    assert (answer.status_code, pointers(answer)) == (422, ["/body/logits"])
    assert " s; for so many posted numbers" in answer.json()["detail"]
    groups = {"method": "group", "groups": list(range(12)), "with_labels": True}
    cells = await client.post(CALIBRATIONS, json={"logits": values.tolist(), "labels": labels.tolist(), **groups})
    assert (cells.status_code, pointers(cells)) == (422, ["/body/with_labels"])
    assert "36000 cells" in cells.json()["detail"]


async def test_only_quick_answers_are_computed_on_the_event_loop(client: httpx.AsyncClient) -> None:
    """One item may take a second of a costly score, or of many thresholds: others must not wait for it meanwhile."""
    values, labels = logits(300, 3)
    items = {"logits": values.tolist(), "labels": labels.tolist()}
    points = {"kind": "regression", "predictions": [0] * 300, "targets": values[:, 0].tolist()}
    knn = {
        "score": "knn", "features": values[:150].tolist(), "labels": labels[:150].tolist(),
        "training_features": values[150:].tolist(), "training_labels": labels[150:].tolist(),
    }  # fmt: skip
    groups = [*range(150), *range(150)]
    for body, item, quick in (
        (items, {"logits": values[:1].tolist()}, True),
        (points, {"predictions": [0]}, True),
        (knn, {"features": values[:1].tolist()}, False),
        ({**items, "score": "entmax", "gamma": 1.5}, {"logits": values[:1].tolist()}, False),
        ({**items, "method": "group", "groups": groups}, {"logits": values[:1].tolist(), "groups": [1]}, False),
        ({**points, "groups": groups}, {"predictions": [0], "groups": [1]}, False),
    ):
        made = await calibrated(client, **body, alpha=np.linspace(0.1, 0.9, 8).tolist())
        answer = await client.post(f"{CALIBRATIONS}/{made['id']}/predictions", json=item)
        assert answer.status_code == 200, answer.text
        assert ("queue" not in answer.headers["Server-Timing"]) == quick, body.get("score")


async def test_cells_are_paged(client: httpx.AsyncClient) -> None:
    values, labels = logits(300, 150)
    body = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), method="class")
    assert (len(body["cells"]), body["cells_total"]) == (100, 150)
    route = f"{CALIBRATIONS}/{body['id']}/cells"
    first = (await client.get(route)).json()
    assert (first["cells"], first["next_cursor"]) == (body["cells"], "100")
    last = (await client.get(route, params={"cursor": 100})).json()
    assert [cell["cell"] for cell in last["cells"]] == [f"class {label}" for label in range(100, 150)]
    assert last["next_cursor"] is None


async def test_parquet_that_inflates(client: httpx.AsyncClient) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the optional package pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table({f"c{index}": np.zeros(1_000_000) for index in range(40)}), stream)
    before = peak_mib()
    answer = await client.post(CALIBRATIONS, files={"logits": stream.getvalue(), "labels": npy(np.array([0, 1]))})
    assert (answer.status_code, pointers(answer)) == (413, ["/body/logits"])
    assert peak_mib() - before < ALLOWED_MIB


def score_of_calibrated_classes() -> Any:
    return Entmax(gamma=1.5).of_all(np.zeros((5, 4)))


def venn_abers_of_two_classes() -> Any:
    return venn_abers(np.arange(9), np.arange(9) % 2).probabilities([0.5])


def venn_abers_of_classes() -> Any:
    return class_venn_abers(np.full((9, 3), 1 / 3), np.arange(9) % 3)


@pytest.mark.parametrize("work", [score_of_calibrated_classes, venn_abers_of_two_classes, venn_abers_of_classes])
def test_work_stops_when_its_caller_has_gone(work: Callable[[], Any]) -> None:
    with interruptible(interrupted_token()), pytest.raises(Interrupted):
        stoppable(work)()


def interrupted_token() -> CancellationToken:
    token = CancellationToken()
    token.interrupt()
    return token


async def test_routes_stop_when_their_caller_has_gone(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every computation begins with its caller gone: one that looks at that ends there."""
    monitor = (await client.post(MONITORS, json={})).json()["id"]
    monkeypatch.setattr(compute_pool, "CancellationToken", interrupted_token)
    for route, body in (
        (VENN_ABERS, {"scores": [0.1, 0.9], "labels": [0, 1], "test_scores": [0.5]}),
        (VENN_ABERS, {"probabilities": [[0, 1], [1, 0]], "labels": [0, 1], "test_probabilities": [[0, 1]]}),
        (DISTRIBUTIONS, {"predictions": [1, 2], "targets": [1, 2], "test_predictions": [1]}),
        (f"{MONITORS}/{monitor}/observations", {"scores": [1, 2]}),
    ):
        answer = await client.post(route, json=body)
        assert (answer.status_code, answer.json()["title"]) == (499, "Client closed request"), route
