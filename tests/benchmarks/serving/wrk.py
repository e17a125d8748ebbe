"""Closed loop by wrk (https://github.com/wg/wrk): each connection asks again as soon as it is answered."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.serving.wire import Call

_SCRIPT = Path(__file__).with_name("load.lua")
_TIMEOUT_S = 20


class WrkFailed(Exception):
    """wrk is missing or gave no result."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What wrk saw.

    Attributes:
        seconds: length of the window.
        answers: complete answers, refusals included.
        p50_ms: median time of an answer, milliseconds, refusals included; so are the others.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        refused: answers with a status of 400 or more.
        broken: connections that failed, and answers that took more than 20 s.
    """

    seconds: float
    answers: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.answers - self.refused) / self.seconds


def require_wrk() -> None:
    """Check that it is there.

    Raises:
        WrkFailed: it is not.
    """
    if shutil.which("wrk") is None:
        raise WrkFailed("wrk is missing; on Debian and Ubuntu: apt install wrk")


def parse(output: str) -> Counted:
    """What load.lua prints at the end.

    Raises:
        WrkFailed: it printed nothing.
    """
    lines = [line for line in output.splitlines() if line.startswith("COUNTED ")]
    if len(lines) != 1:
        raise WrkFailed(f"wrk gave no result: {output.strip()[-300:]}")
    found = json.loads(lines[0].removeprefix("COUNTED "))
    return Counted(
        seconds=found["duration"] / 1e6,
        answers=found["answers"],
        p50_ms=found["p50"] / 1e3,
        p95_ms=found["p95"] / 1e3,
        p99_ms=found["p99"] / 1e3,
        refused=found["status"],
        broken=found["socket"] + found["timeout"],
    )


def load(url: str, call: Call, *, connections: int, seconds: float) -> Counted:
    """Ask for whole seconds, rounded up, from one thread.

    Raises:
        WrkFailed: wrk gave no result.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(call.body)
        body.flush()
        command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{-int(-seconds // 1)}s"]
        command += ["--timeout", f"{_TIMEOUT_S}s", "--script", str(_SCRIPT)]
        for name, value in call.headers.items():
            command += ["--header", f"{name}: {value}"]
        environment = {**os.environ, "WRK_BODY": body.name}
        done = subprocess.run([*command, url], env=environment, capture_output=True, text=True, check=False)
    return parse(done.stdout + done.stderr)


def cpu_of_children() -> float:
    """CPU seconds of all processes that this one has started and that have ended: wrk's, between two calls."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
