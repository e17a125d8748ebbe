"""What a slice of 4096x4096 takes of the medical service: `python -m tests.benchmarks.large_slices`.

Starts the service alone (Linux only), posts the slice as each kind of answer is asked for, alone and twice at once, and
reads VmHWM of its process, which is set back before each. Prints a table; what was measured lies in large_slices.md.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from deploy.local.ports import free_ports
from shared.http.fleet import FLEET_TOKEN_HEADER
from tests.benchmarks.reporting import as_table
from tests.support.addresses import NO_REDIS

SIDE = 4096
TOKEN = "the token of this benchmark"
READY_S = 120.0

REQUESTS: tuple[tuple[str, int, dict[str, str]], ...] = (
    ("image/png", 1, {"noise_level": "0.001"}),
    ("application/json", 1, {"noise_level": "0.001"}),
    ("application/dicom", 1, {"noise_level": "0.001"}),
    ("application/x-npy", 1, {}),
    ("application/x-npy", 2, {}),
)
"""Accept, how many at once, and options: at so little noise the network is not run, and all the rest is measured."""


def noisy_slice(side: int) -> bytes:
    """A disc of tissue in float16, as noisy as the network wants it."""
    rows, columns = np.mgrid[:side, :side] / np.float32(side) - np.float32(0.5)
    hu = np.where(np.hypot(rows, columns) < 0.4, np.float32(40), np.float32(-1000))
    hu += np.random.default_rng(0).normal(0, 200, hu.shape).astype(np.float32)
    stream = io.BytesIO()
    np.save(stream, np.maximum(hu, -1024).astype(np.float16))
    return stream.getvalue()


@contextmanager
def running_service(folder: Path) -> Iterator[tuple[httpx.Client, int]]:
    """The service on a port of its own, with its models open; a client of it and its process."""
    (port,) = free_ports(1)
    environment = os.environ | {
        "FACET_REDIS_URL": NO_REDIS,
        "FACET_BLOB_URL": str(folder / "blobs"),
        "FACET_FLEET_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "services.medical.app:create_app", "--port", str(port)]
    process = subprocess.Popen([*command, "--log-level", "warning"], env=environment, stdout=subprocess.DEVNULL)
    headers = {FLEET_TOKEN_HEADER: TOKEN}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=900, headers=headers, trust_env=False) as client:
            _wait_for_models(client)
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for_models(client: httpx.Client) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            if client.get("/health/ready").json()["checks"].get("models") == "ok":
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the service did not open its models")


def _mebibytes(process: int, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def measure(
    client: httpx.Client, process: int, posted: bytes, *, accept: str, at_once: int, form: dict[str, str]
) -> dict[str, Any]:
    """Post a slice; seconds until the last answer, and memory before and at its peak."""

    def post(_: int) -> None:
        accepted = {"Accept": accept}
        answer = client.post("/v1/medical/ct/enhancements", files={"file": posted}, data=form, headers=accepted)
        assert answer.status_code == 200, answer.text

    before = _mebibytes(process, "VmRSS")
    Path(f"/proc/{process}/clear_refs").write_text("5")
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(post, range(at_once)))
    seconds, peak = time.monotonic() - began, _mebibytes(process, "VmHWM")
    network = "no" if form else "yes"
    return {"answer": accept, "network": network, "at once": at_once, "s": seconds, "MiB before": before, "peak": peak}


def main() -> None:
    """Measure and print."""
    posted = noisy_slice(SIDE)
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder)) as (client, process):
        for accept, at_once, form in REQUESTS:
            print(as_table([measure(client, process, posted, accept=accept, at_once=at_once, form=form)]), flush=True)


if __name__ == "__main__":
    main()
