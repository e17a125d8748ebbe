"""`python -m tests.benchmarks.serving.hop`: what the gateway adds to a request, and JSON beside binary tensors.

The same request goes to the gateway and to the service behind it in turns, one at a time over a kept-alive connection,
so that whatever else the machine does falls on both alike. The model takes the mean of its row and no time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from shared.http.fleet import FLEET_TOKEN_HEADER
from tests.benchmarks.reporting import as_table
from tests.benchmarks.serving import wire
from tests.benchmarks.serving.__main__ import HERE, WORK
from tests.benchmarks.serving.cases import CASES, Case, draw_samples
from tests.benchmarks.serving.machine import describe_machine
from tests.benchmarks.serving.measuring import Target, Unfit, compare, started
from tests.benchmarks.serving.models import write_models
from tests.benchmarks.serving.processes import all_processes, with_descendants
from tests.benchmarks.serving.rows import Spread, spread
from tests.benchmarks.serving.systems import FACET, FLEET_TOKEN, Start
from tests.benchmarks.serving.wire import Form
from tests.benchmarks.serving.wrk import load, require_wrk

SMALL = Case("mean", "mean", "tensor", (8192,), 1.0)
"""32 KiB of float32."""
BIG = Case("mean", "mean", "tensor", (1024 * 1024,), 2.0)
"""4 MiB of float32."""

_READY_FILE_S = 30.0

AS_JSON = replace(FACET, forms={"tensor": Form(wire.json_tensor, wire.read_protocol_json)})


@dataclass(frozen=True, slots=True)
class Round:
    """One window of one way.

    Attributes:
        way: "gateway" or "service"; for tensors "binary" or "json".
        p50_ms: median time of an answer, milliseconds.
        p99_ms: 99th percentile.
        rate: answers per second.
        gateway_ms: CPU milliseconds of the gateway per answer.
        service_ms: the same of the service.
        body_bytes: length of the request's body.
    """

    way: str
    p50_ms: float
    p99_ms: float
    rate: float
    gateway_ms: float
    service_ms: float
    body_bytes: int


class Processes:
    """CPU time of gateway and service, with whatever processes they start.

    Args:
        ready_file: what the supervisor wrote.
    """

    def __init__(self, ready_file: Path) -> None:
        until = time.monotonic() + _READY_FILE_S  # it is written a little after the gateway answers
        while not ready_file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        facts = json.loads(ready_file.read_text())
        self._pids: dict[str, int] = facts["pids"]
        self.service_url: str = facts["services"]["perception"]

    def cpu(self) -> dict[str, float]:
        """Seconds since the start, by name."""
        processes = all_processes()
        return {
            name: sum(processes[pid].cpu_s for pid in with_descendants({self._pids[name]}, processes))
            for name in ("gateway", "perception")
        }


def take(way: str, target: Target, processes: Processes) -> Round:
    """One window, one request at a time.

    Raises:
        Unfit: some were not answered with 200.
    """
    call, before = target.call(), processes.cpu()
    counted = load(target.url, call, connections=1, seconds=target.case.seconds)
    after = processes.cpu()
    if counted.refused or counted.broken or not counted.answers:
        raise Unfit(f"{way}: {counted}")
    per_answer = {name: (after[name] - before[name]) / counted.answers * 1e3 for name in after}
    return Round(
        way=way,
        p50_ms=counted.p50_ms,
        p99_ms=counted.p99_ms,
        rate=counted.rate,
        gateway_ms=per_answer["gateway"],
        service_ms=per_answer["perception"],
        body_bytes=len(call.body),
    )


def in_turns(ways: dict[str, Target], processes: Processes, *, rounds: int, title: str) -> list[dict[str, Round]]:
    """Rounds of one window per way, after one round that does not count; each way's answers are compared first."""
    for target in ways.values():
        compare(target)
    taken = []
    for number in tqdm(range(-1, rounds), desc=title, unit="round"):
        found = {name: take(name, target, processes) for name, target in ways.items()}
        if number >= 0:
            taken.append(found)
    return taken


def as_rows(taken: Sequence[dict[str, Round]], *, base: str) -> list[dict[str, Any]]:
    """A line per way; differences and ratios are of the same round, against `base`."""
    rows = []
    for way in taken[0]:
        of_way = [found[way] for found in taken]
        added = spread(found[way].p50_ms - found[base].p50_ms for found in taken)
        ratio = spread(found[way].p50_ms / found[base].p50_ms for found in taken)
        rows.append(
            {
                "way": way,
                "body bytes": of_way[0].body_bytes,
                "p50 ms": _text(spread(one.p50_ms for one in of_way)),
                "p99 ms": _text(spread(one.p99_ms for one in of_way)),
                "CPU ms, gateway": _text(spread(one.gateway_ms for one in of_way)),
                "CPU ms, service": _text(spread(one.service_ms for one in of_way)),
                f"added to {base}, p50 ms": "-" if way == base else _text(added),
                f"p50 over {base}": "-" if way == base else _text(ratio),
            }
        )
    return rows


def _text(value: Spread) -> str:
    return f"{value.median:.3f} ({value.lowest:.3f}-{value.highest:.3f})"


def measure_hop(case: Case, start: Start, *, rounds: int, service_path: str) -> list[dict[str, Round]]:
    """The gateway beside the service alone."""
    samples = draw_samples(case, start.models, count=4)
    with started(FACET, case, start, samples) as gateway:
        processes = Processes(start.state / FACET.name / "ready.json")
        path = service_path.format(model=case.model) or wire.target_of(gateway.url)
        trusted = replace(
            gateway.form, encode=wire.with_headers(gateway.form.encode, {FLEET_TOKEN_HEADER: FLEET_TOKEN})
        )
        believed = replace(FACET, forms={case.route: trusted})
        service = replace(gateway, system=believed, url=processes.service_url + path)
        return in_turns({"gateway": gateway, "service": service}, processes, rounds=rounds, title="gateway hop")


def measure_forms(case: Case, start: Start, *, rounds: int) -> list[dict[str, Round]]:
    """JSON beside binary, both through the gateway."""
    samples = draw_samples(case, start.models, count=2)
    with started(FACET, case, start, samples) as binary:
        processes = Processes(start.state / FACET.name / "ready.json")
        ways = {"binary": binary, "json": replace(binary, system=AS_JSON)}
        return in_turns(ways, processes, rounds=rounds, title="JSON beside binary")


_HEAD = """# The gateway hop

Written by `python -m tests.benchmarks.serving.hop` ({date}; {cpu}, {cores} cores).

One request at a time, windows in turns; medians over {rounds} rounds, ranges in brackets; differences and ratios are
of the same round. CPU is per request; the kernel counts it in ticks of 10 ms over a window.
"""


def main() -> int:
    """Write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving.hop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--service-path", default="", help="path at the service, if not the gateway's")
    parser.add_argument("--image", action="store_true", help="only the hop, by images to the traffic-sign classifier")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results-hop", help="report without its suffix")
    options = parser.parse_args()
    require_wrk()
    write_models(WORK / "models")
    start = Start(models=WORK / "models", state=WORK / "state", threads=options.threads)
    start.state.mkdir(parents=True, exist_ok=True)
    small = replace(CASES["traffic-signs"], seconds=1.0) if options.image else SMALL
    taken = {"hop": measure_hop(small, start, rounds=options.rounds, service_path=options.service_path)}
    if not options.image:
        taken["forms"] = measure_forms(BIG, start, rounds=options.rounds)
    machine = describe_machine()
    text = _HEAD.format(**machine, rounds=options.rounds)
    text += f"\n## Gateway beside service\n\n{as_table(as_rows(taken['hop'], base='service'))}\n"
    if "forms" in taken:
        text += f"\n## 4 MiB: JSON beside binary\n\n{as_table(as_rows(taken['forms'], base='binary'))}\n"
    rounds = {
        key: [{way: asdict(one) for way, one in found.items()} for found in value] for key, value in taken.items()
    }
    content = {"machine": machine, "rounds": rounds}
    options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
