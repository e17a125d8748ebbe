"""Real processes of the fleet for raw sockets to speak to: Redis, the gateway, a service."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from deploy.commands import ENVIRONMENT
from deploy.local.lifeline import Lifeline
from deploy.local.redis_server import redis_executable
from tests.support.processes import family

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0

_PAGE_BYTES = resource.getpagesize()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_descriptor_limit() -> None:
    """Hundreds of connections need as many descriptors, here and in the processes that are started from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class ServerProcess:
    """A process that runs, and what it costs.

    Args:
        popen: the process, leader of a session of its own.
        log: file of its output.
    """

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self.log = log

    @property
    def pids(self) -> list[int]:
        """The process and its workers, if it has some."""
        return family(self._popen.pid)

    def alive(self) -> bool:
        return self._popen.poll() is None

    def resident_bytes(self) -> int:
        """Resident memory of the process and its workers."""
        total = 0
        for pid in self.pids:
            with suppress(FileNotFoundError, ProcessLookupError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        return total

    def stop(self) -> None:
        """End it, the hard way if it does not end when it is asked to."""
        self._popen.terminate()
        try:
            self._popen.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[ServerProcess]:
    """Start a process; it is stopped at the end.

    Args:
        command: to run.
        log: file that its output goes to.
        environment: variables of the fleet; what this process was told of another fleet is left out.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FACET_")}
    variables = {**ENVIRONMENT, **inherited, "PYTHONPATH": str(ROOT), **environment}
    with log.open("wb") as output:
        popen = subprocess.Popen(
            list(command),
            cwd=log.parent,  # a developer's .env is not for tests
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process, lifeline = ServerProcess(popen, log), Lifeline()
    lifeline.hold(popen.pid)  # tests that are killed leave no fleet behind
    try:
        yield process
    finally:
        process.stop()
        lifeline.release(popen.pid)
        lifeline.close()


@contextmanager
def serving(name: str, folder: Path, environment: Mapping[str, str], *, ready: str) -> Iterator[ServerProcess]:
    """`python -m deploy.serve NAME`, ready to be asked.

    Args:
        name: "gateway" or a domain.
        folder: where its log goes.
        environment: its settings.
        ready: URL that answers 200 when it is ready.
    """
    with running([sys.executable, "-m", "deploy.serve", name], folder / f"{name}.log", environment) as process:
        wait_until(lambda: answers(ready), process)
        yield process


@contextmanager
def redis_running(folder: Path) -> Iterator[str]:
    """A Redis without persistence; yields its URL without a database number."""
    port = free_port()
    command = [redis_executable(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with running(command, folder / "redis.log", {}) as process, redis.Redis(port=port) as client:
        wait_until(lambda: _pings(client), process)
        yield f"redis://127.0.0.1:{port}"


def wait_until(condition: Callable[[], bool], process: ServerProcess) -> None:
    """Wait for a process that starts; fail with its log if it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert process.alive(), process.log.read_text()
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.02)


def open_connections(port: int, callers: Collection[int]) -> int:
    """Connections to a port of the loopback interface that its server has accepted and not closed.

    Args:
        port: of the server.
        callers: ports of the callers that count.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    accepted = (row for row in rows if row[1].endswith(f":{port:04X}") and row[9] != "0")
    return sum(int(row[2].rpartition(":")[2], 16) in callers for row in accepted)


def answers(url: str) -> bool:
    """Whether a URL is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
