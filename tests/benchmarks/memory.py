"""What the fleet takes of memory: idle, after mixed requests, and at its peak; `python -m tests.benchmarks.memory`.

Starts the whole fleet as `make run` does, reads /proc (Linux only), and writes memory.md and memory.json beside this
file. RSS counts pages that processes share (libraries, a worker and its child) once for each process; PSS shares them
out, so that its sum is what the machine needs; USS is what would be free if the process ended.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from services.declarations import declared_capabilities
from shared.capabilities.declaration import Capability
from shared.memory import EVERY_S
from shared.settings import DOMAINS
from tests.benchmarks.memory_load import apply_load
from tests.benchmarks.reporting import as_table
from tests.benchmarks.serving.machine import describe_machine
from tests.e2e.fleet import Fleet, start_fleet
from tests.support.processes import family

IDLE_TARGET_MIB, USED_TARGET_MIB = 900, 1434
"""Most RSS of the whole fleet: idle, and after the load."""

SETTLE_S = 10.0
"""From ready to the idle table."""

EMPTY = "generation"
"""A service without capabilities: what the others take beyond it is their capabilities'."""


def declared_by_service() -> dict[str, tuple[Capability, ...]]:
    """The capabilities of each service that has some."""
    declared = declared_capabilities()
    return {domain: found for domain in DOMAINS if (found := declared.of(domain))}


_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of one process, MiB."""

    process: str
    rss: float
    pss: float
    uss: float
    peak: float
    """Largest RSS so far (VmHWM)."""


def usage_of(name: str, pid: int) -> Usage:
    """What a process takes now."""
    parts: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, value = line.split()[:2]
        parts[key.rstrip(":")] = int(value)
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    uss = parts["Private_Clean"] + parts["Private_Dirty"]
    return Usage(name, *(kib / 1024 for kib in (parts["Rss"], parts["Pss"], uss, peak)))


def fleet_usage(fleet: Fleet) -> list[Usage]:
    """All processes of a fleet, the supervisor with its lifeline and the children of workers among them."""
    leaders = {pid: name for name, pid in fleet.pids.items()}
    return [usage_of(name, pid) for name, pid in _processes(fleet.supervisor.pid, leaders)]


def _processes(supervisor: int, leaders: dict[int, str]) -> Iterator[tuple[str, int]]:
    of_services = {child: name for pid, name in leaders.items() for child in family(pid) if child != pid}
    for pid in family(supervisor):
        if pid == supervisor:
            yield "supervisor", pid
        elif pid in leaders:
            yield leaders[pid], pid
        else:
            yield f"{of_services[pid]}, child" if pid in of_services else "lifeline", pid


def _rows(before: list[Usage], after: list[Usage]) -> list[dict[str, Any]]:
    rows = []
    later = {usage.process: usage for usage in after}
    for idle in before:
        used = later[idle.process]
        rows.append(_row(idle.process, (idle.rss, idle.pss, idle.uss, used.rss, used.pss, used.uss, used.peak)))
    sums = [
        sum(getattr(usage, part) for usage in usages) for usages in (before, after) for part in ("rss", "pss", "uss")
    ]
    return [*rows, _row("sum", (*sums, sum(usage.peak for usage in after)))]


def _row(name: str, figures: tuple[float, ...]) -> dict[str, Any]:
    columns = ("idle RSS", "idle PSS", "idle USS", "used RSS", "used PSS", "used USS", "peak RSS")
    return {"process": name} | {column: round(figure) for column, figure in zip(columns, figures, strict=True)}


def budget_rows(before: list[Usage], after: list[Usage]) -> list[dict[str, Any]]:
    """What each service takes beyond an empty one, beside the budgets of its capabilities."""
    idle, used = ({usage.process: usage.rss for usage in usages} for usages in (before, after))
    rows = []
    for service, capabilities in declared_by_service().items():
        for column, found, budget in (
            ("idle", idle[service] - idle[EMPTY], sum(one.memory.idle_mib for one in capabilities)),
            ("used", used[service] - idle[EMPTY], sum(one.memory.used_mib for one in capabilities)),
        ):
            state = "within" if found <= budget else "OVER"
            names = ", ".join(one.name for one in capabilities)
            rows.append({"capabilities": names, "when": column, "RSS": round(found), "budget": budget, "is": state})
    return rows


def report(machine: dict[str, Any], before: list[Usage], after: list[Usage]) -> str:
    """The tables as Markdown."""
    idle, used = (sum(usage.rss for usage in usages) for usages in (before, after))
    about = ", ".join(str(machine[key]) for key in ("cpu", "system", "python", "onnxruntime", "date"))
    return "\n".join(
        [
            "# Memory of the fleet",
            "",
            f"Made by `make bench-memory` on {machine['cores']} cores, {machine['memory_gib']} GiB ({about}).",
            "",
            f"MiB. Idle: {SETTLE_S:.0f} s after ready. Used: {EVERY_S:.0f} s after a load of pictures, tensors, CT,",
            "explanations by every method, detections, calibrations and jobs.",
            "",
            as_table(_rows(before, after)),
            "",
            f"Sum of RSS: {idle:.0f} idle (wanted: at most {IDLE_TARGET_MIB}), {used:.0f} used ({USED_TARGET_MIB}).",
            "",
            "## Budgets",
            "",
            "What a service takes beyond one without capabilities, beside the declared budgets of its capabilities.",
            "",
            as_table(budget_rows(before, after)),
            "",
        ]
    )


def measure(folder: Path, rounds: int) -> tuple[list[Usage], list[Usage]]:
    """Start a fleet, and read its memory before and after the load."""
    fleet = start_fleet(folder)
    try:
        time.sleep(SETTLE_S)
        before = fleet_usage(fleet)
        apply_load(fleet.url, rounds=rounds)
        time.sleep(EVERY_S + 5)
        return before, fleet_usage(fleet)
    finally:
        fleet.stop()


def main() -> int:
    """1 where the fleet takes more than it may, or a capability more than its budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how often the load is repeated (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before, after = measure(Path(folder) / "state", options.rounds)
    machine = describe_machine()
    text = report(machine, before, after)
    (_FOLDER / "memory.md").write_text(text)
    facts = {"machine": machine, "idle": [asdict(usage) for usage in before], "used": [asdict(one) for one in after]}
    (_FOLDER / "memory.json").write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
    sys.stdout.write(text)
    idle, used = (sum(usage.rss for usage in usages) for usages in (before, after))
    over = any(row["is"] == "OVER" for row in budget_rows(before, after))
    return int(over or idle > IDLE_TARGET_MIB or used > USED_TARGET_MIB)


if __name__ == "__main__":
    sys.exit(main())
