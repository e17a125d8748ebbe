"""What an explanation costs beside a plain forward pass: graphs on one thread, and the route through the gateway."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from services.declarations import SERVICES
from services.perception.classification.demo import stop_sign
from services.uncertainty.explanation.graphs import TrustedSource
from services.uncertainty.explanation.inference import Explainer
from services.uncertainty.explanation.methods import Method
from shared.runtime.cards import read_card, read_weights
from shared.runtime.models.registry import newest_folder
from shared.runtime.models.sessions import OnnxModel
from tests.benchmarks.reporting import ROUNDS, show
from tests.e2e.fleet import Fleet, start_fleet

BATCHES = (1, 8)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@pytest.mark.parametrize("count", BATCHES)
def test_methods_beside_a_forward_pass(capsys: pytest.CaptureFixture[str], count: int) -> None:
    folder = newest_folder(SERVICES / "perception" / "models", "traffic-signs")
    card = read_card(folder)
    weights = read_weights(folder, card)
    model, explainer = OnnxModel(card, weights, threads=1), Explainer(card, TrustedSource(lambda: weights), threads=1)
    pictures = np.random.default_rng(0).random((count, 3, 32, 32), dtype=np.float32)
    work: dict[str, Callable[[], object]] = {"forward": lambda: model.run({"pictures": pictures})}
    for method in Method:
        work[method.value] = lambda by=method: explainer.explain(pictures, by)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in work}
    for run in work.values():
        run()
    for _ in range(ROUNDS):
        for name, run in work.items():
            times[name].append(seconds(run))
    rows = [
        {
            "method": name,
            "ms a picture": 1000 * statistics.median(one) / count,
            "forward passes": statistics.median(a / b for a, b in zip(one, times["forward"], strict=True)),
        }
        for name, one in times.items()
    ]
    show(capsys, f"Explanations, {count} at once, one thread", rows)
    assert rows[1]["method"] == "srd"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    running = start_fleet(tmp_path_factory.mktemp("fleet"), arguments=["--without-torch"])
    yield running
    running.stop()


def test_routes(capsys: pytest.CaptureFixture[str], fleet: Fleet) -> None:
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "classification": ("/v1/perception/classifications", {}),
        "srd": ("/v1/uncertainty/explanations", {"method": "srd"}),
        "grad-cam": ("/v1/uncertainty/explanations", {"method": "grad-cam"}),
        "integrated gradients": ("/v1/uncertainty/explanations", {"method": "integrated-gradients"}),
    }
    times: dict[str, list[float]] = {name: [] for name in requests}
    with httpx.Client(base_url=fleet.url, timeout=60, headers={"Accept": "application/x-npy"}) as client:
        for _ in range(2 * ROUNDS):
            for name, (path, form) in requests.items():
                began = time.perf_counter()
                answer = client.post(path, files={"file": stop_sign()}, data=form)
                times[name].append(1000 * (time.perf_counter() - began))
                assert answer.status_code == 200, answer.text
    rows = [
        {
            "request": name,
            "p50 ms": statistics.median(one),
            "p95 ms": float(np.quantile(one, 0.95)),
            "times a classification": statistics.median(
                a / b for a, b in zip(one, times["classification"], strict=True)
            ),
        }
        for name, one in times.items()
    ]
    show(capsys, "Explanations through the gateway, PNG in, NPY out", rows)
