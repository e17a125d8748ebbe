"""Start a system, compare its answers with onnxruntime's, load it at each concurrency, compare again, stop it."""

from __future__ import annotations

import datetime
import http.client
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from deploy.local.ports import free_ports
from tests.benchmarks.serving import wire
from tests.benchmarks.serving.cases import Case, Sample
from tests.benchmarks.serving.environments import python_of
from tests.benchmarks.serving.processes import Meter, Running, wait_until_idle
from tests.benchmarks.serving.rows import Row
from tests.benchmarks.serving.systems import Start, System, environment_of
from tests.benchmarks.serving.versions import version_of
from tests.benchmarks.serving.wire import Call, Form
from tests.benchmarks.serving.wrk import cpu_of_children, load

TOLERANCE = 1e-3
"""Largest difference from onnxruntime's answer: relative, or absolute to its largest number (to 1 if that is more)."""

_START_TIMEOUT_S = 120.0
_REFUSING_TIMEOUT_S = 10.0
"""How long a system may answer with something else than 200 before it is given up."""
_ANSWER_TIMEOUT_S = 30.0


DISTURBED_CORES = 0.25
"""Cores that others may keep busy in a window before it is taken again."""


class Unfit(Exception):
    """A system did not start, or answers wrongly."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to load.

    Attributes:
        concurrencies: open requests, one window each.
        seconds: of a window; those of the case by default.
        warm_up_s: seconds at the highest concurrency before the first window.
        attempts: how often a window is taken at most while others keep more than `DISTURBED_CORES` busy.
    """

    concurrencies: tuple[int, ...]
    seconds: float | None = None
    warm_up_s: float = 1.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A running system, and one case put in its form."""

    system: System
    case: Case
    url: str
    running: Running
    samples: Sequence[Sample]

    @property
    def form(self) -> Form:
        """How it is asked."""
        return self.system.forms[self.case.route]

    def call(self) -> Call:
        """The request of the load."""
        return self.form.encode(self.case, self.samples[0])


@contextmanager
def started(system: System, case: Case, start: Start, samples: Sequence[Sample]) -> Iterator[Target]:
    """Start a system; gives it back once it answers rightly, and stops it at the end.

    Raises:
        Unfit: it did not start or answered wrongly.
        NotInstalled: its environment could not be made.
    """
    ports = free_ports(3)
    state = (start.state / system.name).resolve()
    state.mkdir(parents=True, exist_ok=True)
    arguments = [argument.format(port=ports[0], state=state) for argument in system.command]
    log = start.state / f"{system.name}-{case.name}.log"
    environment = environment_of(system, case, ports, start)
    with Running([python_of(system.name), *arguments], environment, log=log, grace_s=system.grace_s) as running:
        target = Target(system, case, system.url(case, ports[0]), running, samples)
        _await_answer(target)
        compare(target)
        yield target


def ask(url: str, call: Call) -> tuple[int, dict[str, str], bytes]:
    """One POST: status, headers (lower case), body.

    Raises:
        OSError: nobody answers.
        http.client.HTTPException: the answer is no HTTP.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_TIMEOUT_S)
    try:
        connection.request("POST", wire.target_of(url), call.body, dict(call.headers))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _await_answer(target: Target) -> None:
    deadline, said, heard = time.monotonic() + _START_TIMEOUT_S, "no answer", False
    while time.monotonic() < deadline and not target.running.ended():
        try:
            status, _, body = ask(target.url, target.call())
        except (OSError, http.client.HTTPException) as error:
            said = repr(error)
        else:
            if status == 200:
                return
            said = f"status {status}: {body[:300]!r}"
            deadline = deadline if heard else min(deadline, time.monotonic() + _REFUSING_TIMEOUT_S)
            heard = True
        time.sleep(0.1)
    raise Unfit(f"not ready: {said}; it last printed: {target.running.last_words().strip()[-300:]!r}")


def compare(target: Target) -> float:
    """Ask for all samples at once, so that they share batches, and compare; the largest absolute difference.

    Raises:
        Unfit: a status other than 200, or an answer beyond the tolerance.
    """
    with ThreadPoolExecutor(len(target.samples)) as pool:
        calls = [target.form.encode(target.case, sample) for sample in target.samples]
        answers = list(pool.map(lambda call: ask(target.url, call), calls))
    largest = 0.0
    for sample, (status, headers, body) in zip(target.samples, answers, strict=True):
        if status != 200:
            raise Unfit(f"status {status}: {body[:200]!r}")
        found, right = target.form.decode(headers, body), target.form.view(sample.answer)
        scale = min(1.0, float(np.abs(right).max()))
        if found.shape != right.shape or not np.allclose(found, right, rtol=TOLERANCE, atol=TOLERANCE * scale):
            raise Unfit(f"wrong answer: {found[:4]} of {found.shape} in place of {right[:4]} of {right.shape}")
        largest = max(largest, float(np.abs(found - right).max()))
    return largest


def busy_seconds() -> float:
    """CPU seconds that the whole machine has worked since it started, see proc(5), /proc/stat."""
    user, nice, system, _, _, irq, soft_irq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


def window(target: Target, *, repeat: int, concurrency: int, seconds: float) -> Row:
    """One measured window."""
    wait_until_idle(target.running)
    call, busy, client = target.call(), busy_seconds(), cpu_of_children()
    with Meter(target.running) as meter:
        counted = load(target.url, call, connections=concurrency, seconds=seconds)
    usage, client, busy = meter.usage, cpu_of_children() - client, busy_seconds() - busy
    good = counted.answers - counted.refused
    return Row(
        repeat=repeat,
        system=target.system.name,
        case=target.case.name,
        route=target.case.route,
        concurrency=concurrency,
        rate=counted.rate,
        p50_ms=counted.p50_ms,
        p95_ms=counted.p95_ms,
        p99_ms=counted.p99_ms,
        refused=counted.refused,
        broken=counted.broken,
        cpu_ms=usage.cpu_s / good * 1e3 if good else 0.0,
        peak_rss_mib=usage.peak_rss / 2**20,
        client_cores=client / counted.seconds,
        other_cores=max(busy - client - usage.cpu_s, 0.0) / counted.seconds,
        body_bytes=len(call.body),
        processes={kind: round(rss / 2**20, 1) for kind, rss in usage.peaks.items()},
        version=version_of(target.system),
        measured=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
    )


def quietest(take: Callable[[], Row], *, attempts: int) -> Row:
    """A window that others did not disturb, or else the one of all attempts that they disturbed least."""
    rows = []
    for _ in range(attempts):
        rows.append(take())
        if rows[-1].other_cores <= DISTURBED_CORES:
            break
    return min(rows, key=lambda row: row.other_cores)


def measure(
    system: System, case: Case, start: Start, samples: Sequence[Sample], plan: Plan, *, repeat: int
) -> list[Row]:
    """All windows of one system on one case, each with what the comparisons before and after them found.

    Raises:
        Unfit: it did not start or answers wrongly, before or after the load.
        NotInstalled: its environment could not be made.
        WrkFailed: wrk gave no result.
    """
    began = time.monotonic()
    with started(system, case, start, samples) as target:
        start_s, before = time.monotonic() - began, compare(target)
        load(target.url, target.call(), connections=max(plan.concurrencies), seconds=plan.warm_up_s)
        rows = []
        for number in plan.concurrencies:
            take = partial(window, target, repeat=repeat, concurrency=number, seconds=plan.seconds or case.seconds)
            rows.append(quietest(take, attempts=plan.attempts))
        wait_until_idle(target.running)
        difference = max(before, compare(target))
    return [replace(row, difference=difference, start_s=start_s) for row in rows]
