"""What the processes of a running fleet are made of, and that they come back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from deploy.commands import worker_name
from services.kinds import all_kinds, declared_weights
from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.settings import DOMAINS
from tests.e2e.fleet import Fleet, start_fleet
from tests.support.processes import family, until
from tests.support.serving import FLEET_TOKEN

FLEET = {FLEET_TOKEN_HEADER: FLEET_TOKEN}


def loads_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def test_the_fleet_is_the_one_of_the_design(fleet: Fleet) -> None:
    weights = declared_weights(all_kinds())
    assert set(fleet.pids) == {"redis", "gateway", *DOMAINS, *map(worker_name, weights)}


@pytest.mark.parametrize("name", ["gateway", *DOMAINS])
def test_every_http_process_is_alive_ready_and_documented(fleet: Fleet, name: str) -> None:
    url = fleet.url if name == "gateway" else fleet.facts["services"][name]
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json"):
        assert httpx.get(url + path, trust_env=False, timeout=20, headers=FLEET).status_code == 200, path


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_no_serving_process_has_torch_loaded(fleet: Fleet) -> None:
    for name, pid in fleet.pids.items():
        if name != "worker-torch":
            assert not any(map(loads_torch, family(pid))), name


@pytest.mark.parametrize("name", ["uncertainty", "gateway", "worker-onnx"])
def test_a_killed_process_comes_back_and_the_rest_stays(fleet: Fleet, client: httpx.Client, name: str) -> None:
    before = fleet.pids
    os.kill(before[name], signal.SIGKILL)
    until(lambda: fleet.pids[name] != before[name])
    until(lambda: answers(client))
    others = {other: pid for other, pid in fleet.pids.items() if other != name}
    assert others == {other: pid for other, pid in before.items() if other != name}


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    torch_kinds = {"FACET_WORKER_KINDS": "tests.integration.jobs.job_kinds"}
    fleet = start_fleet(tmp_path / "state", arguments=["--without-torch"], environment=torch_kinds)
    pids = [pid for leader in [fleet.supervisor.pid, *fleet.pids.values()] for pid in family(leader)]
    assert "worker-torch" not in fleet.pids
    assert fleet.stop() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not fleet.ready_file.exists()
