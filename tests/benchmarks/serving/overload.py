"""`python -m tests.benchmarks.serving.overload`: three times what a system can do, for a minute.

Capacity is measured first, closed loop. Then requests arrive at a fixed rate, whatever is answered. Asked is: do good
answers stay near capacity, are the others refused soon and with Retry-After, does memory stay as it is?
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.benchmarks.reporting import as_table
from tests.benchmarks.serving.__main__ import HERE, WORK
from tests.benchmarks.serving.arrivals import CONNECTIONS
from tests.benchmarks.serving.cases import CASES, draw_samples
from tests.benchmarks.serving.environments import NotInstalled
from tests.benchmarks.serving.machine import describe_machine
from tests.benchmarks.serving.measuring import Target, Unfit, compare, started
from tests.benchmarks.serving.models import write_models
from tests.benchmarks.serving.processes import Meter, Usage, wait_until_idle
from tests.benchmarks.serving.systems import FACET, SYSTEMS, Start
from tests.benchmarks.serving.wire import Call
from tests.benchmarks.serving.wrk import WrkFailed, load, require_wrk

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Overload:
    """What happened.

    Attributes:
        system: its name.
        case: its name.
        capacity: good answers per second, closed loop, the best of the concurrencies tried, before and after.
        rate: requests per second that arrived.
        seconds: for how long.
        goodput: good answers per second meanwhile.
        answers: counts and times by status, how late requests were sent, connections that broke, as `Tally.summary`.
        rss_mib: sum of the system's resident memory before, after a sixth of the time, at the end, and its peak.
    """

    system: str
    case: str
    capacity: float
    rate: float
    seconds: float
    goodput: float
    answers: dict[str, Any]
    rss_mib: dict[str, float]


def capacity_of(target: Target, *, concurrencies: Sequence[int], seconds: float) -> float:
    """The best rate of good answers of a closed loop."""
    load(target.url, target.call(), connections=max(concurrencies), seconds=1)
    rates = []
    for concurrency in concurrencies:
        wait_until_idle(target.running)
        rates.append(load(target.url, target.call(), connections=concurrency, seconds=seconds).rate)
    return max(rates)


def arrive(url: str, call: Call, *, rate: float, seconds: float) -> dict[str, Any]:
    """Let requests arrive from a process of their own.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(call.body)
        body.flush()
        command = [sys.executable, "-m", "tests.benchmarks.serving.arrivals", url, "--body", body.name]
        command += ["--headers", json.dumps(dict(call.headers)), "--rate", str(rate), "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    tally: dict[str, Any] = json.loads(done.stdout)
    return tally


def overload(target: Target, *, factor: float, seconds: float, window_s: float) -> Overload:
    """Measure capacity, then offer a multiple of it; answers are compared and capacity is measured afterwards as well.

    Raises:
        Unfit: it answers wrongly afterwards.
    """
    capacity = capacity_of(target, concurrencies=(16, 64), seconds=window_s)
    wait_until_idle(target.running)
    with Meter(target.running) as meter:
        answers = arrive(target.url, target.call(), rate=factor * capacity, seconds=seconds)
    wait_until_idle(target.running)
    compare(target)
    capacity_after = capacity_of(target, concurrencies=(16, 64), seconds=window_s)
    return Overload(
        system=target.system.name,
        case=target.case.name,
        capacity=max(capacity, capacity_after),
        rate=factor * capacity,
        seconds=seconds,
        goodput=answers["good_in_time"] / seconds,
        answers=answers,
        rss_mib=memory(meter.usage, seconds=seconds),
    )


def memory(usage: Usage, *, seconds: float) -> dict[str, float]:
    """Resident MiB at the moments that tell a leak from a queue that fills once."""
    within = [(at, rss) for at, rss in usage.rss if at <= seconds] or list(usage.rss)
    sixth = next((rss for at, rss in within if at >= seconds / 6), within[-1][1])
    moments = {"before": within[0][1], "after a sixth": sixth, "at the end": within[-1][1], "peak": usage.peak_rss}
    return {name: rss / _MIB for name, rss in moments.items()}


def as_row(result: Overload) -> dict[str, Any]:
    """One line of the table."""
    by_status = result.answers["by_status"]
    refused = {status: found for status, found in by_status.items() if status in {"429", "503"}}
    count = sum(found["count"] for found in refused.values())
    others = sum(found["count"] for status, found in by_status.items() if status not in {"200", "429", "503"})
    return {
        "system": result.system,
        "case": result.case,
        "capacity/s": f"{result.capacity:.0f}",
        "offered/s": f"{result.rate:.0f}",
        "good/s": f"{result.goodput:.0f}",
        "good / capacity": f"{result.goodput / result.capacity:.2f}",
        "good p50, p99 ms": _times({"200": by_status["200"]}) if "200" in by_status else "-",
        "refused": count,
        "refused p50, p99 ms": _times(refused),
        "with Retry-After": f"{sum(found['with_retry_after'] for found in refused.values()) / count:.0%}"
        if count
        else "-",
        "other errors": others + result.answers["broken"],
        "unsent": result.answers["unsent"],
        "sent late, p99 ms": f"{result.answers['late']['p99_ms']:.1f}",
        "RSS MiB before, after a sixth, end, peak": ", ".join(f"{value:.0f}" for value in result.rss_mib.values()),
    }


def _times(found: dict[str, Any]) -> str:
    return "; ".join(f"{one['p50_ms']:.1f}, {one['p99_ms']:.1f} ({status})" for status, one in found.items()) or "-"


_HEAD = """# Overload

Written by `python -m tests.benchmarks.serving.overload` ({date}; {cpu}, {cores} cores).

Requests arrive at a fixed rate of {factor:g} times capacity for {seconds:g} s, from an open loop on the same cores.
Capacity is the best of closed loops at 16 and 64 open requests, before and after; what is offered is a multiple of the
one before. Good answers count while requests arrive, not what is
worked off afterwards. Times are the client's, from sending to the whole answer. Where requests were sent late, or not
at all since {connections} connections were busy, less was offered than was meant.

"""


def main() -> int:
    """Write the report; 0 when all was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving.overload", description=__doc__)
    parser.add_argument("--systems", default=FACET.name, help="parted by commas (%(default)s)")
    parser.add_argument("--cases", default="tiny,large,traffic-signs", help="parted by commas (%(default)s)")
    parser.add_argument("--factor", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--window", type=float, default=5.0, help="seconds of a measurement of capacity")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results-overload", help="report without its suffix")
    options = parser.parse_args()
    require_wrk()
    models, results, missed = WORK / "models", [], 0
    write_models(models)
    start = Start(models=models, state=WORK / "state", threads=options.threads)
    start.state.mkdir(parents=True, exist_ok=True)
    wanted = [(SYSTEMS[name], CASES[case]) for name in options.systems.split(",") for case in options.cases.split(",")]
    for system, case in tqdm(wanted, unit="system"):
        try:
            with started(system, case, start, draw_samples(case, models, count=8)) as target:
                results.append(
                    overload(target, factor=options.factor, seconds=options.seconds, window_s=options.window)
                )
        except (NotInstalled, Unfit, WrkFailed) as error:
            tqdm.write(f"{system.name} on {case.name}: {error}")
            missed += 1
    if results:
        machine = describe_machine()
        content = {"machine": machine, "results": [asdict(result) for result in results]}
        head = _HEAD.format(**machine, factor=options.factor, seconds=options.seconds, connections=CONNECTIONS)
        text = head + as_table([as_row(result) for result in results]) + "\n"
        options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(text, encoding="utf-8")
        print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
