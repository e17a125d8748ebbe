"""What was measured: one row per cell, appended to a file as it comes, so that a run that was cut off can go on."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BARE = "onnxruntime"
"""The name of onnxruntime alone; its rows have the batch size for a concurrency."""


@dataclass(frozen=True, slots=True)
class Row:
    """One window of one system.

    Attributes:
        repeat: number of the round that it belongs to, from 0.
        system: its name.
        case: name of the case.
        route: "tensor" or "image".
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
        processes: peak of resident memory by kind of process, MiB; those of a kind are added up.
        version: of the system, as `versions.version_of` gives it.
        fingerprint: of all that the figure depends on; a row with the same one need not be measured again.
        measured: when, UTC.
    """

    repeat: int
    system: str
    case: str
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
    processes: Mapping[str, float] = field(default_factory=dict)
    version: str = ""
    fingerprint: str = ""
    measured: str = ""

    @property
    def cell(self) -> tuple[int, str, str, int]:
        """What there is one row of."""
        return self.repeat, self.system, self.case, self.concurrency


@dataclass(frozen=True, slots=True)
class Failure:
    """A system that could not be measured on a case."""

    repeat: int
    system: str
    case: str
    reason: str


class Ledger:
    """Rows and failures of earlier runs and of this one.

    Args:
        path: JSON lines that every entry is appended to as it comes.
        report: an earlier report whose rows are taken over; rows in `path` are newer than its.
    """

    def __init__(self, path: Path, *, report: Path | None = None) -> None:
        self._path = path
        self._rows: dict[tuple[int, str, str, int], Row] = {}
        self.failures: list[Failure] = []
        for content in (*_reported(report), *_lines(path)):
            self._take(Failure(**content) if "reason" in content else Row(**content))

    @property
    def rows(self) -> list[Row]:
        """One per cell, the newest."""
        return list(self._rows.values())

    def _take(self, entry: Row | Failure) -> None:
        if isinstance(entry, Row):
            self._rows[entry.cell] = entry
        else:
            self.failures.append(entry)

    def add(self, entry: Row | Failure) -> None:
        """Write an entry down; a row replaces an older one of its cell."""
        self._take(entry)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")

    @property
    def standing_failures(self) -> list[Failure]:
        """The last failure of each system on each case in each repeat that was not measured later on."""
        measured = {cell[:3] for cell in self._rows}
        last = {(one.repeat, one.system, one.case): one for one in self.failures}
        return [failure for key, failure in last.items() if key not in measured]

    def concurrencies(self, repeat: int, system: str, case: str, *, fingerprint: str) -> set[int]:
        """What is measured already, and would come out the same."""
        wanted = (repeat, system, case, fingerprint)
        return {row.concurrency for row in self.rows if (row.repeat, row.system, row.case, row.fingerprint) == wanted}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _reported(report: Path | None) -> Iterator[dict[str, Any]]:
    """The rows of a report; those without a fingerprint are of an older form and say nothing."""
    if report is not None and report.exists():
        yield from (row for row in json.loads(report.read_text(encoding="utf-8"))["rows"] if "fingerprint" in row)


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


def cell(rows: Iterable[Row], system: str, case: str, concurrency: int) -> dict[int, Row]:
    """The rows of a cell by repeat."""
    return {row.repeat: row for row in rows if (row.system, row.case, row.concurrency) == (system, case, concurrency)}


def paired_ratio(
    over: dict[int, Row], under: dict[int, Row], value: Callable[[Row], float] = lambda row: row.rate
) -> Spread | None:
    """Ratios of the rows of the same repeat; None where there are none or something is zero."""
    ratios = [
        value(row) / value(under[repeat]) for repeat, row in over.items() if repeat in under and value(under[repeat])
    ]
    return spread(ratios) if ratios else None
