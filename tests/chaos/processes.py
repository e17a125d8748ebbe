"""The processes of a drill: Redis with an append-only file, a gateway, workers; each can be killed and started."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, Signals

import httpx
import redis

from deploy.local.ports import free_ports
from deploy.local.redis_server import local_redis
from shared.settings import Settings
from tests.chaos.faults import QUEUE

ROOT = Path(__file__).parents[2]
HEARTBEAT_S = 0.3


class Processes:
    """A small fleet.

    Args:
        folder: of Redis' file, blobs and logs.
    """

    def __init__(self, folder: Path) -> None:
        redis_port, self.gateway_port = free_ports(2)
        self._redis, url = local_redis(folder / "redis", redis_port)
        self._log = (folder / "processes.log").open("ab")
        self.settings = Settings(
            _env_file=None,
            redis_url=url,
            blob_url=str(folder / "blobs"),
            gateway_port=self.gateway_port,
            worker_heartbeat_s=HEARTBEAT_S,
            job_lost_workers_limit=50,
        )
        self._token = secrets.token_urlsafe(32)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def gateway_url(self) -> str:
        """Where the gateway is."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def start_redis(self) -> None:
        """Start it and wait until it has read its file."""
        self._start("redis", list(self._redis.command))
        while self._redis.ready():
            time.sleep(0.02)

    def start_gateway(self) -> None:
        """Start it and wait until it answers."""
        self._start("gateway", [sys.executable, "-m", "deploy.serve", "gateway"])
        while True:
            assert self._running["gateway"].poll() is None, "the gateway did not start: see processes.log"
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.gateway_url}/health/live").status_code == 200:
                    return
            time.sleep(0.05)

    def start_worker(self, name: str, *, wait: bool = True) -> None:
        """Start a worker; with `wait`, until it beats."""
        before = self._beats() if wait else set()
        self._start(name, [sys.executable, "-m", "services.worker", "--weight", "onnx", "--queues", QUEUE])
        while wait and not self._beats() - before:
            time.sleep(0.05)

    def signal(self, name: str, number: Signals) -> None:
        """Send a signal to a process and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._running[name].pid, number)

    def kill(self, name: str, number: Signals = SIGKILL) -> None:
        """End a process and its children, and wait for it."""
        self.signal(name, number)
        self._running.pop(name).wait()

    def close(self) -> None:
        """Kill whatever still runs."""
        for name in list(self._running):
            self.signal(name, SIGCONT)
            self.kill(name)
        self._log.close()

    def _start(self, name: str, command: list[str]) -> None:
        settings = self.settings
        environment = os.environ | {
            "FACET_FLEET_TOKEN": self._token,
            "FACET_REDIS_URL": settings.redis_url,
            "FACET_BLOB_URL": settings.blob_url,
            "FACET_GATEWAY_PORT": str(settings.gateway_port),
            "FACET_WORKER_HEARTBEAT_S": str(HEARTBEAT_S),
            "FACET_JOB_LOST_WORKERS_LIMIT": str(settings.job_lost_workers_limit),
            "FACET_WORKER_KINDS": "tests.chaos.faults",
            "OMP_NUM_THREADS": "1",
        }
        self._running[name] = subprocess.Popen(
            command, cwd=ROOT, env=environment, start_new_session=True, stdout=self._log, stderr=self._log
        )

    def _beats(self) -> set[bytes]:
        with redis.Redis.from_url(self.settings.redis_url) as client:
            return set(client.zrange(f"facet:queue:{QUEUE}:workers", 0, -1))
