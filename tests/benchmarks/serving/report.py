"""Rows as people read them: a table per model and route, ratios with their range, what could not be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tests.benchmarks.reporting import as_table
from tests.benchmarks.serving.rows import BARE, Failure, Row, Spread, cell, paired_ratio, spread
from tests.benchmarks.serving.systems import FACET, SYSTEMS

_HEAD = """# Facet beside its peers

Written by `make bench-serving` ({date}; {cpu}, {cores} cores, {memory_gib} GiB; Python {python},
onnxruntime {onnxruntime}, {wrk}). Client and servers share the cores: read ratios, not capacities.

Closed loop, {repeats} repeats in rotated order; medians, with the range of the rate in brackets. Every answer was
compared with onnxruntime's before and after (largest difference {difference:.1g}). Times are the client's. CPU and
memory are those of all processes of a system. Others used {other:.2f} cores (median) and the client up to {client:.2f}.

{setups}
"""


def best_peer(
    rows: Sequence[Row], model: str, concurrency: int, value: Callable[[Row], float] = lambda row: row.rate
) -> str | None:
    """The product, Facet left out, whose value has the highest median; by default the rate."""
    medians = {
        name: spread(map(value, found.values())).median
        for name, system in SYSTEMS.items()
        if system.product and name != FACET.name and (found := cell(rows, name, model, concurrency))
    }
    return max(medians, key=lambda name: medians[name]) if medians else None


def ratios(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Facet over the best peer, and over onnxruntime alone at the same number of rows, paired by repeat."""
    table = []
    for model, concurrency in _cells(rows, FACET.name):
        facet = cell(rows, FACET.name, model, concurrency)
        peer = best_peer(rows, model, concurrency)
        beside = cell(rows, peer or "", model, concurrency)
        bare = cell(rows, BARE, model, concurrency)
        promptest = best_peer(rows, model, concurrency, lambda row: -row.p99_ms)
        prompt = cell(rows, promptest or "", model, concurrency)
        table.append(
            {
                "model": model,
                "concurrency": concurrency,
                "best peer": peer or "-",
                "rate, Facet / peer": _text(paired_ratio(facet, beside)),
                "CPU, Facet / peer": _text(paired_ratio(facet, beside, lambda row: row.cpu_ms)),
                "lowest p99 of a peer": promptest or "-",
                "p99, Facet / that": _text(paired_ratio(facet, prompt, lambda row: row.p99_ms)),
                "rate, Facet / onnxruntime at this batch": _text(paired_ratio(facet, bare)),
            }
        )
    return table


def as_markdown(rows: Sequence[Row], failures: Sequence[Failure], machine: Mapping[str, Any]) -> str:
    """The whole report."""
    parts = [_HEAD.format(**machine, **_circumstances(rows), setups=_setups(rows, machine))]
    if table := ratios(rows):
        parts.append(f"## Ratios\n\nMedian of the repeats' ratios, range in brackets.\n\n{as_table(table)}\n")
    for model, route in dict.fromkeys((row.model, row.route) for row in rows):
        of_model = [row for row in rows if row.model == model]
        parts.append(f"## {model}, {route}\n\n{as_table(_lines(of_model))}\n")
    if failures:
        reasons = {(one.system, one.model): f"- {one.system} on {one.model}: {one.reason}" for one in failures}
        parts.append("## Not measured\n\n" + "\n".join(reasons.values()) + "\n")
    return "\n".join(parts)


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
        "client": max((row.client_cores for row in served), default=0.0),
    }


def _setups(rows: Sequence[Row], machine: Mapping[str, Any]) -> str:
    versions = machine["peers"]
    spin = {True: "; threads spin", False: ""}
    return "\n".join(
        f"- {name}: {versions.get(name, 'this tree')}; {system.setup}{spin[system.spinning]}"
        for name, system in SYSTEMS.items()
        if any(row.system == name for row in rows)
    )


def _cells(rows: Iterable[Row], system: str) -> list[tuple[str, int]]:
    return list(dict.fromkeys((row.model, row.concurrency) for row in rows if row.system == system))


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
