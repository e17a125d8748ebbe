"""A capability that nothing in the tree knows of: declared, served, documented, its jobs done, those of torch too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deploy.commands import worker_name
from services.declarations import FURTHER_CAPABILITIES
from tests.e2e.fleet import ROOT, Fleet, start_fleet
from tests.support.processes import family, until
from tests.support.tiny_models import mean_of_neighbours
from tests.support.toy.capability import CAPABILITY, DESCENT, PATH, SMOOTHING
from tests.support.toy.demo import image

pytest.importorskip("torch")

DECLARED = {FURTHER_CAPABILITIES: "tests.support.toy.capability"}
PIXELS = np.eye(8).tolist()
WORKERS = {SMOOTHING.name: worker_name("onnx"), DESCENT.name: worker_name("torch")}
ROUTES = {SMOOTHING.name: f"{PATH}/smoothings", DESCENT.name: f"{PATH}/descents"}

each_job = pytest.mark.parametrize("kind", [SMOOTHING.name, DESCENT.name])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    quick = {"FACET_WORKER_HEARTBEAT_S": "0.3", "OMP_NUM_THREADS": "1"}
    running = start_fleet(tmp_path_factory.mktemp("toy"), environment={**DECLARED, **quick})
    yield running
    assert running.stop() == 0


def begin(client: httpx.Client, kind: str, **task: Any) -> str:
    """The address of a new job."""
    answer = client.post(ROUTES[kind], json={"pixels": PIXELS} | task)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def job(client: httpx.Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(path).json()
    return found


def until_job(client: httpx.Client, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job as soon as something holds of it."""
    until(lambda: holds(job(client, path)), said=path)
    return job(client, path)


def has_steps(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["status"] == "running" and ((found["progress"] or {}).get("step") or 0) >= count


def test_its_declared_kinds_bring_the_workers(fleet: Fleet) -> None:
    assert {worker_name("onnx"), worker_name("torch")} <= set(fleet.pids)


def test_it_is_served_with_its_model_its_state_and_its_warm_up(client: httpx.Client) -> None:
    first = client.post(PATH, files={"file": image()})
    assert first.status_code == 200, first.text
    np.testing.assert_allclose(first.json()["pixels"], mean_of_neighbours(np.eye(8)), atol=1e-6)
    assert first.json()["warm"] is True
    assert first.json()["model"]["name"] == "toy-smoother"
    assert client.post(PATH, files={"file": image()}).json()["answered"] == first.json()["answered"] + 1
    assert client.get("/v1/models/toy-smoother").json()["origin"] == "released"


def test_it_is_in_the_document_in_its_chapter(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert {PATH, f"{PATH}/smoothings", f"{PATH}/descents"} <= set(document["paths"])
    assert CAPABILITY.tag is not None
    assert document["tags"][0] == {"name": "toys", "description": CAPABILITY.tag.description}


def test_its_scopes_can_be_given_to_keys(fleet: Fleet) -> None:
    command = [sys.executable, "-m", "deploy.operator", "keys", "scopes"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | DECLARED, capture_output=True, text=True, check=True)
    assert "play with toys" in done.stdout


def test_its_job_runs_in_the_onnx_worker(client: httpx.Client) -> None:
    found = until_job(client, begin(client, SMOOTHING.name, steps=3), lambda it: it["status"] == "succeeded")
    expected = np.eye(8)
    for _ in range(3):
        expected = mean_of_neighbours(expected)
    np.testing.assert_allclose(found["result"]["pixels"], expected, atol=1e-6)
    assert found["result"]["extension"] == "toy"


def test_its_gradient_job_descends_in_the_torch_worker_and_nowhere_else(fleet: Fleet, client: httpx.Client) -> None:
    found = until_job(client, begin(client, DESCENT.name, steps=40), lambda it: it["status"] == "succeeded")
    losses = found["result"]["losses"]
    assert losses[0] == pytest.approx(8.0)
    assert losses == sorted(losses, reverse=True)
    smoothed = mean_of_neighbours(np.array(found["result"]["pixels"]))
    assert ((smoothed - np.eye(8)) ** 2).sum() < losses[-1] < losses[0] / 1.2
    loaded = {name for name, pid in fleet.pids.items() if any(map(loads_torch, family(pid)))}
    assert loaded == {worker_name("torch")}


def loads_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


@each_job
def test_a_running_job_is_cancelled(client: httpx.Client, kind: str) -> None:
    path = begin(client, kind, steps=2000, step_s=0.05)
    until_job(client, path, has_steps(2))
    assert client.delete(path).status_code == 202
    assert until_job(client, path, lambda it: it["status"] not in {"running", "queued"})["status"] == "cancelled"


@each_job
def test_a_job_whose_worker_was_killed_goes_on_from_its_checkpoint(
    fleet: Fleet, client: httpx.Client, kind: str
) -> None:
    path = begin(client, kind, steps=30, step_s=0.05)
    until_job(client, path, has_steps(3))
    os.killpg(fleet.pids[WORKERS[kind]], signal.SIGKILL)
    found = until_job(client, path, lambda it: it["status"] in {"succeeded", "failed"})
    attempts = found["result"]["attempts"]
    assert len(attempts) == 30
    assert attempts == sorted(attempts)
    assert attempts[0] == 1
    assert attempts[-1] > 1, "no second attempt"
    assert attempts.count(1) >= 3, "what was checkpointed is not done again"
