"""Through how many files a request goes: gateway and service in this process, with a profiler in all threads.

The gateway is called without the server on its socket (Rust, in front of one file of `deploy`); between gateway and
service there is a real connection, and Redis is the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
import numpy as np
import redis
import uvicorn

from deploy.local.ports import free_ports
from deploy.local.redis_server import redis_executable
from deploy.serve import service_configuration
from gateway.app import create_app
from services.declarations import SERVICES, declared_capabilities
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB
from shared.imaging.arrays import encode_npy
from shared.settings import Settings, get_settings
from tests.support.serving import running

ROOT = SERVICES.parent
_PARTS = tuple(f"{ROOT / part}{os.sep}" for part in ("deploy", "gateway", "services", "shared"))
PATIENCE_S = 60.0
_REPEATS = 5


@dataclass(slots=True)
class Recorder:
    """A profiler that counts calls of Facet's own functions while it is on."""

    on: bool = False
    calls: dict[CodeType, int] = field(default_factory=dict)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """As `sys.setprofile` wants it; a coroutine that goes on counts as a call."""
        if self.on and event == "call" and frame.f_code.co_filename.startswith(_PARTS):
            self.calls[frame.f_code] = self.calls.get(frame.f_code, 0) + 1

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Forget what was, and record."""
        self.calls.clear()
        self.on = True
        yield
        self.on = False


@dataclass(frozen=True, slots=True)
class RequestPath:
    """What of Facet's code a request needs.

    Attributes:
        files: from the root.
        functions: how many.
        calls: of those.
    """

    files: list[str]
    functions: int
    calls: int

    @classmethod
    def of(cls, recorded: Sequence[dict[CodeType, int]]) -> RequestPath:
        """What all of several equal requests have called: what runs beside them by the clock is left out."""
        common = set.intersection(*(set(calls) for calls in recorded))
        files = {str(Path(code.co_filename).relative_to(ROOT)) for code in common}
        return cls(sorted(files), len(common), min(sum(calls[code] for code in common) for calls in recorded))


@contextmanager
def profiler() -> Iterator[Recorder]:
    """A recorder in this thread and in all that begin from now on."""
    recorder = Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield recorder
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@contextmanager
def redis_server(port: int, folder: Path) -> Iterator[str]:
    """A Redis on a port, gone afterwards; gives its address."""
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen([redis_executable(), *options], stdout=subprocess.DEVNULL) as server:
        try:
            with redis.Redis(port=port) as client:
                _until(lambda: _answers(client))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("something of the fleet did not start")
        time.sleep(0.02)


def _is_ready(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False).status_code == 200


@asynccontextmanager
async def small_fleet(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Gateway and medical service in this process; gives a client of the gateway."""
    store, port = free_ports(2)
    with redis_server(store, folder) as url:
        os.environ |= {
            "FACET_REDIS_URL": url,
            "FACET_BLOB_URL": str(folder / "blobs"),
            "FACET_MEDICAL_PORT": str(port),
            "FACET_MEDICAL_URL": f"http://127.0.0.1:{port}",
        }
        os.environ.setdefault("FACET_FLEET_TOKEN", "of this process")
        get_settings.cache_clear()
        settings = Settings(_env_file=None)
        server = uvicorn.Server(service_configuration("medical", settings))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            _until(lambda: server.started)
            _until(lambda: _is_ready(port))
            async with running(create_app(settings, capabilities=declared_capabilities())) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def sinogram_request() -> dict[str, Any]:
    """A sinogram of zeros in a form, answered as JSON."""
    sinogram = encode_npy(np.zeros((LODOPAB.angles, LODOPAB.detectors), np.float32))
    return {"url": "/v1/medical/ct/reconstructions", "files": {"file": ("sinogram.npy", sinogram)}}


def tensor_request() -> dict[str, Any]:
    """A small tensor of the Open Inference Protocol, as JSON."""
    image = {"name": "image", "shape": [1, 1, 16, 16], "datatype": "FP32", "data": [0.5] * 256}
    level = {"name": "noise_level", "shape": [1], "datatype": "FP32", "data": [0.1]}
    return {"url": "/v2/models/gaussian-denoiser/infer", "json": {"inputs": [image, level]}}


async def request_paths() -> dict[str, RequestPath]:
    """The path of each kind of request, in a process that has answered one already."""
    found: dict[str, RequestPath] = {}
    requests = {"sinogram upload -> JSON": sinogram_request(), "`/v2` tensor": tensor_request()}
    with tempfile.TemporaryDirectory() as folder, profiler() as recorder:
        async with small_fleet(Path(folder)) as client:
            for name, request in requests.items():
                (await client.post(**request)).raise_for_status()
                found[name] = RequestPath.of([await _record(client, recorder, request) for _ in range(_REPEATS)])
    return found


async def _record(client: httpx.AsyncClient, recorder: Recorder, request: dict[str, Any]) -> dict[CodeType, int]:
    with recorder.recording():
        (await client.post(**request)).raise_for_status()
    return dict(recorder.calls)
