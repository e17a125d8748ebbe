"""A calibration of 50,000 items for 1,000 classes, in a process of its own whose peak is read from the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from shared.http.fleet import FLEET_TOKEN_HEADER
from tests.integration.conftest import free_port
from tests.support.serving import FLEET_TOKEN

ROOT = Path(__file__).parents[3]
ITEMS, CLASSES = 50_000, 1000
ALLOWED_KB = 2 * 1024**2


@pytest.fixture
def service(redis_url: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """URL and process id of the service."""
    port = free_port()
    environment = os.environ | {
        "FACET_REDIS_URL": redis_url,
        "FACET_BLOB_URL": str(tmp_path / "blobs"),
        "FACET_MODELS": str(tmp_path / "no-models"),
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "services.uncertainty.app:create_app", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        while True:
            assert process.poll() is None, "the service did not start"
            try:
                httpx.get(f"{url}/health/live")
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        yield url, process.pid
        process.terminate()


def peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


@pytest.mark.slow
def test_fifty_thousand_times_a_thousand(service: tuple[str, int], tmp_path: Path) -> None:
    url, pid = service
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, ITEMS)
    logits = random.standard_normal((ITEMS, CLASSES), dtype=np.float32)
    logits[np.arange(ITEMS), labels] += 4
    np.save(tmp_path / "logits.npy", logits)
    np.save(tmp_path / "labels.npy", labels)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    scores = 1 - shifted[np.arange(ITEMS), labels] / shifted.sum(axis=1)
    expected = np.sort(scores)[int(np.ceil(50_001 * 0.9)) - 1]
    for score in ("thr", "raps"):
        with (tmp_path / "logits.npy").open("rb") as first, (tmp_path / "labels.npy").open("rb") as second:
            answer = httpx.post(
                f"{url}/v1/uncertainty/calibrations",
                files={"logits": first, "labels": second},
                data={"score": score},
                headers={FLEET_TOKEN_HEADER: FLEET_TOKEN},
                timeout=300,
            )
        assert answer.status_code == 201, answer.text
        if score == "thr":
            assert answer.json()["cells"][0]["thresholds"][0]["q"] == pytest.approx(expected, abs=1e-6)
    assert peak_kb(pid) < ALLOWED_KB
    print(f"peak {peak_kb(pid) / 1024:.0f} MiB")
