"""What was measured: one row per cell, appended to a file as it comes, so that a run that was cut off can go on."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

BARE = "onnxruntime"
"""The name of onnxruntime alone; its rows have the batch size for a concurrency."""


@dataclass(frozen=True, slots=True)
class Row:
    """One window of one system.

    Attributes:
        repeat: number of the round that it belongs to, from 0.
        system: its name.
        model: the case.
        route: "tensor" or "png".
        concurrency: open requests.
        rate: good answers per second; for onnxruntime alone rows per second.
        p50_ms: time of an answer as the client sees it, milliseconds; so are the next two.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        refused: answers with a status of 400 or more.
        broken: connections that failed and answers that never came.
        cpu_ms: CPU milliseconds of all the system's processes per good answer.
        peak_rss_mib: largest sum of their resident memory.
        client_cores: cores that the client used.
        other_cores: cores that neither system nor client used and that were busy all the same.
        body_bytes: length of a request's body.
        difference: largest absolute difference of an answer from onnxruntime's, before and after the measurement.
        start_s: seconds from start to first right answer.
    """

    repeat: int
    system: str
    model: str
    route: str
    concurrency: int
    rate: float
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    refused: int = 0
    broken: int = 0
    cpu_ms: float = 0.0
    peak_rss_mib: float = 0.0
    client_cores: float = 0.0
    other_cores: float = 0.0
    body_bytes: int = 0
    difference: float = 0.0
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A system that could not be measured on a case."""

    repeat: int
    system: str
    model: str
    reason: str


class Ledger:
    """The file of rows and failures, as JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[Row] = []
        self.failures: list[Failure] = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            content = json.loads(line)
            if "reason" in content:
                self.failures.append(Failure(**content))
            else:
                self.rows.append(Row(**content))

    def add(self, entry: Row | Failure) -> None:
        """Keep a row."""
        if isinstance(entry, Row):
            self.rows.append(entry)
        else:
            self.failures.append(entry)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")

    @property
    def standing_failures(self) -> list[Failure]:
        """The last failure of each system on each case in each repeat that was not measured later on."""
        measured = {(row.repeat, row.system, row.model) for row in self.rows}
        last = {(one.repeat, one.system, one.model): one for one in self.failures}
        return [failure for key, failure in last.items() if key not in measured]

    def concurrencies(self, repeat: int, system: str, model: str) -> set[int]:
        """What is measured already."""
        wanted = (repeat, system, model)
        return {row.concurrency for row in self.rows if (row.repeat, row.system, row.model) == wanted}


@dataclass(frozen=True, slots=True)
class Spread:
    """A value with its range over repeats."""

    median: float
    lowest: float
    highest: float


def spread(values: Iterable[float]) -> Spread:
    """Of at least one value."""
    values = list(values)
    return Spread(statistics.median(values), min(values), max(values))


def cell(rows: Iterable[Row], system: str, model: str, concurrency: int) -> dict[int, Row]:
    """The rows of a cell by repeat."""
    return {row.repeat: row for row in rows if (row.system, row.model, row.concurrency) == (system, model, concurrency)}


def paired_ratio(
    over: dict[int, Row], under: dict[int, Row], value: Callable[[Row], float] = lambda row: row.rate
) -> Spread | None:
    """Ratios of the rows of the same repeat; None where there are none or something is zero."""
    ratios = [
        value(row) / value(under[repeat]) for repeat, row in over.items() if repeat in under and value(under[repeat])
    ]
    return spread(ratios) if ratios else None
