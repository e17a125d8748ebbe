"""Rows as people read them: a table per model and route, ratios with their range, what could not be measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tests.benchmarks.reporting import as_table
from tests.benchmarks.serving.cases import CASES
from tests.benchmarks.serving.measuring import DISTURBED_CORES
from tests.benchmarks.serving.rows import BARE, Failure, Row, Spread, cell, paired_ratio, spread
from tests.benchmarks.serving.systems import FACET, SYSTEMS

_HEAD = """# Facet beside its peers

Written by `make bench-serving` ({date}, commit {commit}; {cpu}, {cores} cores, {memory_gib} GiB; Python {python},
onnxruntime {onnxruntime}, {wrk}). Client and servers share the cores: read ratios, not capacities.

Closed loop, {repeats} repeats in rotated order; medians, with the range of the rate in brackets. Answers to {samples}
samples were compared with onnxruntime's before and after (largest difference {difference:.1g}). Times are the client's.
CPU and memory are those of all processes of a system. Others used {other:.2f} cores (median, at most {most:.2f}), the
client up to {client:.2f}; a window in which others used more than {disturbed} was taken again, twice at most, and the
quietest counts. Windows between {first} and {last} UTC.

{setups}
"""


SAMPLES = 8
"""Different inputs of a case that answers are compared for."""


def best_peer(
    rows: Sequence[Row], case: str, concurrency: int, value: Callable[[Row], float] = lambda row: row.rate
) -> str | None:
    """The product, Facet left out, whose value has the highest median; by default the rate."""
    medians = {
        name: spread(map(value, found.values())).median
        for name, system in SYSTEMS.items()
        if system.product and not system.own and (found := cell(rows, name, case, concurrency))
    }
    return max(medians, key=lambda name: medians[name]) if medians else None


def ratios(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Facet over the best peer, and over onnxruntime alone at the same number of rows, paired by repeat."""
    table = []
    for case, concurrency in _cells(rows, FACET.name):
        facet = cell(rows, FACET.name, case, concurrency)
        peer = best_peer(rows, case, concurrency)
        beside = cell(rows, peer or "", case, concurrency)
        bare = cell(rows, BARE, case, concurrency)
        promptest = best_peer(rows, case, concurrency, lambda row: -row.p99_ms)
        prompt = cell(rows, promptest or "", case, concurrency)
        table.append(
            {
                "case": case,
                "concurrency": concurrency,
                "best peer": peer or "-",
                "rate, Facet / peer": _text(paired_ratio(facet, beside)),
                "p99, Facet / peer": _text(paired_ratio(facet, beside, lambda row: row.p99_ms)),
                "errors of Facet": sum(row.refused + row.broken for row in facet.values()),
                "CPU, Facet / peer": _text(paired_ratio(facet, beside, lambda row: row.cpu_ms)),
                "lowest p99 of a peer": promptest or "-",
                "p99, Facet / that": _text(paired_ratio(facet, prompt, lambda row: row.p99_ms)),
                "rate, Facet / onnxruntime at this batch": _text(paired_ratio(facet, bare)),
            }
        )
    return table


def as_markdown(rows: Sequence[Row], failures: Sequence[Failure], machine: Mapping[str, Any]) -> str:
    """The whole report."""
    parts = [_HEAD.format(**machine, **_circumstances(rows), setups=_setups(rows))]
    if table := ratios(rows):
        parts.append(f"## Ratios\n\nMedian of the repeats' ratios, range in brackets.\n\n{as_table(table)}\n")
    order = list(CASES)
    for case in sorted({row.case for row in rows}, key=lambda name: order.index(name) if name in order else -1):
        of_case = [row for row in rows if row.case == case]
        parts.append(f"## {case}, {of_case[0].route}\n\n{as_table(_lines(of_case))}\n")
    if table := memory(rows):
        parts.append(f"## Memory\n\nPeak resident MiB {_OF_PROCESSES}\n\n{as_table(table)}\n")
    if failures:
        reasons = {(one.system, one.case): f"- {one.system} on {one.case}: {one.reason}" for one in failures}
        parts.append("## Not measured\n\n" + "\n".join(reasons.values()) + "\n")
    return "\n".join(parts)


_OF_PROCESSES = """of each kind of process at the highest concurrency, medians; pages that processes share count in
each, those of a kind are added up."""


def memory(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A line per case and system: the sum, and what each kind of process takes."""
    table = []
    for case, system in dict.fromkeys((row.case, row.system) for row in rows if row.processes):
        of_both = [row for row in rows if (row.case, row.system) == (case, system)]
        most = max(row.concurrency for row in of_both)
        measured = [row for row in of_both if row.concurrency == most]
        kinds = {kind for row in measured for kind in row.processes}
        peaks = {kind: spread(row.processes.get(kind, 0.0) for row in measured).median for kind in kinds}
        table.append(
            {
                "case": case,
                "system": system,
                "all": f"{spread(row.peak_rss_mib for row in measured).median:.0f}",
                "by kind": ", ".join(
                    f"{kind} {peaks[kind]:.0f}" for kind in sorted(peaks, key=lambda kind: -peaks[kind])
                ),
            }
        )
    return table


def as_content(rows: Sequence[Row], failures: Sequence[Failure], machine: Mapping[str, Any]) -> dict[str, Any]:
    """What results.json holds."""
    return {
        "machine": dict(machine),
        "ratios": ratios(rows),
        "rows": [asdict(row) for row in rows],
        "failures": [asdict(failure) for failure in failures],
    }


def _circumstances(rows: Sequence[Row]) -> dict[str, Any]:
    served = [row for row in rows if row.system != BARE]
    return {
        "repeats": len({row.repeat for row in rows}),
        "difference": max((row.difference for row in served), default=0.0),
        "other": spread(row.other_cores for row in served).median if served else 0.0,
        "most": max((row.other_cores for row in served), default=0.0),
        "client": max((row.client_cores for row in served), default=0.0),
        "first": min((row.measured for row in served), default="-").partition("+")[0],
        "last": max((row.measured for row in served), default="-").partition("+")[0],
        "samples": SAMPLES,
        "disturbed": DISTURBED_CORES,
    }


def _setups(rows: Sequence[Row]) -> str:
    """A line per system: what it is, and of which version how many rows are, should there be several."""
    versions = {name: Counter(row.version for row in rows if row.system == name) for name in SYSTEMS}
    spin = {True: "; threads spin", False: ""}
    return "\n".join(
        f"- {name}: {_versions(versions[name])}; {system.setup}{spin[system.spinning]}"
        for name, system in SYSTEMS.items()
        if versions[name]
    )


def _versions(found: Counter[str]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return " and ".join(f"{version} in {count} windows" for version, count in found.items())


def _cells(rows: Iterable[Row], system: str) -> list[tuple[str, int]]:
    order = list(CASES)
    found = {(row.case, row.concurrency) for row in rows if row.system == system}
    return sorted(found, key=lambda cell: (order.index(cell[0]) if cell[0] in order else -1, cell[1]))


def _lines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A line per concurrency and system, fastest first; onnxruntime's batch sizes at the end."""
    lines = []
    for concurrency in sorted({row.concurrency for row in rows if row.system != BARE}):
        found = {
            name: [row for row in rows if (row.system, row.concurrency) == (name, concurrency)] for name in SYSTEMS
        }
        measured = {name: of_system for name, of_system in found.items() if of_system}
        order = sorted(measured, key=lambda name: -spread(row.rate for row in measured[name]).median)
        lines += [_line(name, str(concurrency), measured[name]) for name in order]
    for batch in sorted({row.concurrency for row in rows if row.system == BARE}):
        bare = [row for row in rows if (row.system, row.concurrency) == (BARE, batch)]
        lines.append(_line("onnxruntime alone", f"batch {batch}", bare))
    return lines


def _line(name: str, concurrency: str, rows: Sequence[Row]) -> dict[str, Any]:
    def median(value: Callable[[Row], float]) -> float:
        return spread(map(value, rows)).median

    return {
        "system": name,
        "concurrency": concurrency,
        "rows/s": _text(spread(row.rate for row in rows), digits=0),
        "p50 ms": f"{median(lambda row: row.p50_ms):.2f}",
        "p95 ms": f"{median(lambda row: row.p95_ms):.2f}",
        "p99 ms": f"{median(lambda row: row.p99_ms):.2f}",
        "errors": sum(row.refused + row.broken for row in rows),
        "CPU ms per row": f"{median(lambda row: row.cpu_ms):.3f}",
        "peak RSS MiB": f"{median(lambda row: row.peak_rss_mib):.0f}" if rows[0].peak_rss_mib else "-",
        "body bytes": rows[0].body_bytes or "-",
    }


def _text(value: Spread | None, *, digits: int = 2) -> str:
    return "-" if value is None else f"{value.median:.{digits}f} ({value.lowest:.{digits}f}-{value.highest:.{digits}f})"
