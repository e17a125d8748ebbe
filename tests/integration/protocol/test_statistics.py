"""Statistics of models as tritonclient and perf_analyzer read them: differences of sums, before and after requests."""

from __future__ import annotations

import time
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferInput
from tritonclient.utils import InferenceServerException

from tests.integration.protocol.conftest import Fleet

ROWS = 3
DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


def ask(client: Any, version: str, *, times: int = 1) -> None:
    made = InferInput("x", [ROWS, 4], "FP32")
    made.set_data_from_numpy(np.ones((ROWS, 4), np.float32))
    for _ in range(times):
        client.infer("times", [made], model_version=version)


def statistics(client: Any, version: str = "1.0.0") -> dict[str, Any]:
    (found,) = client.get_inference_statistics("times", version)["model_stats"]
    assert (found["name"], found["version"]) == ("times", version)
    return dict(found)


def test_it_is_an_extension_that_the_server_names(client: Any) -> None:
    assert "statistics" in client.get_server_metadata()["extensions"]


def test_requests_are_counted_with_their_times(client: Any) -> None:
    before = statistics(client)
    began = time.time()
    ask(client, "1.0.0", times=5)
    wall_ns, after = (time.time() - began) * 1e9, statistics(client)
    assert after["inference_count"] - before["inference_count"] == 5 * ROWS
    assert after["execution_count"] - before["execution_count"] == 5
    assert began - 1 <= after["last_inference"] / 1000 <= time.time()
    spent = {name: after["inference_stats"][name]["ns"] - before["inference_stats"][name]["ns"] for name in DURATIONS}
    counts = {
        name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"] for name in DURATIONS
    }
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert [counts[name] for name in ("success", *parts)] == [5] * 5
    assert [counts[name] for name in ("fail", "cache_hit", "cache_miss")] == [0] * 3
    assert all(spent[name] > 0 for name in ("success", "compute_input", "compute_infer", "compute_output"))
    assert sum(spent[name] for name in parts) <= spent["success"] <= wall_ns


def test_runs_are_counted_by_their_rows(client: Any) -> None:
    def of_rows(said: dict[str, Any]) -> int:
        return int(sum(one["compute_infer"]["count"] for one in said["batch_stats"] if one["batch_size"] == ROWS))

    before = of_rows(statistics(client))
    ask(client, "1.0.0", times=2)
    assert of_rows(statistics(client)) == before + 2


def test_without_a_version_all_are_told_and_without_a_model_all_models(client: Any) -> None:
    ask(client, "2.0.0")
    told = client.get_inference_statistics("times")["model_stats"]
    assert [one["version"] for one in told] == ["1.0.0", "2.0.0"]
    everything = client.get_inference_statistics()
    assert {"times", "mixed", "texts"} <= {one["name"] for one in everything["model_stats"]}
    assert everything["unavailable"] == {}


def test_what_no_model_answers_is_a_failure(fleet: Fleet, client: Any) -> None:
    """Indices beyond a table are what the embedding refuses itself."""
    body = {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [10**6]}]}
    (before,) = client.get_inference_statistics("embedding", "1.0.0")["model_stats"]
    assert httpx.post(f"{fleet.url}/v2/models/embedding/infer", json=body).status_code == 422
    (after,) = client.get_inference_statistics("embedding", "1.0.0")["model_stats"]
    assert after["inference_stats"]["fail"]["count"] == before["inference_stats"]["fail"]["count"] + 1
    assert after["inference_stats"]["success"] == before["inference_stats"]["success"]


def test_of_no_model_there_are_none(client: Any) -> None:
    for arguments in (("nobody",), ("times", "9.0.0")):
        with pytest.raises(InferenceServerException) as raised:
            client.get_inference_statistics(*arguments)
        assert raised.value.status() == "404"
