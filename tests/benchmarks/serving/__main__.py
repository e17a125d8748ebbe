"""`make bench-serving`: every system on every case at every concurrency, and the tables.

What an earlier run has measured with the same code, request and machine is not measured again, so that a run may be cut
off, or end by itself after `--minutes`, and go on later; a changed system or case is measured anew, the others are not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.benchmarks.serving.bare import BATCHES, loop
from tests.benchmarks.serving.cases import CASES, Case, draw_samples
from tests.benchmarks.serving.environments import NotInstalled
from tests.benchmarks.serving.machine import describe_machine
from tests.benchmarks.serving.measuring import Plan, Unfit, measure
from tests.benchmarks.serving.models import write_models
from tests.benchmarks.serving.report import SAMPLES, as_content, as_markdown
from tests.benchmarks.serving.rows import BARE, Failure, Ledger
from tests.benchmarks.serving.systems import SYSTEMS, Start, System
from tests.benchmarks.serving.versions import fingerprint
from tests.benchmarks.serving.wrk import WrkFailed, require_wrk

HERE = Path(__file__).parent
WORK = Path(".benchmarks/serving")
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """One system on one case in one repeat."""

    repeat: int
    system: System
    case: Case


def turns(systems: Sequence[System], cases: Sequence[Case], *, repeats: int) -> Iterator[Turn]:
    """All turns; the order of systems moves on by one with each repeat and case."""
    for repeat in range(repeats):
        for number, case in enumerate(cases):
            able = [system for system in systems if system.takes(case)]
            shift = (repeat * len(cases) + number) % max(len(able), 1)
            for system in (*able[shift:], *able[:shift]):
                yield Turn(repeat, system, case)


def _names(known: Sequence[str], text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := sorted(set(names) - set(known)):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.serving", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--systems", type=lambda text: _names(list(SYSTEMS), text), default=list(SYSTEMS))
    parser.add_argument("--cases", type=lambda text: _names(list(CASES), text), default=list(CASES))
    parser.add_argument("--concurrency", type=lambda text: [int(part) for part in text.split(",")],
                        default=[1, 4, 16, 64])  # fmt: skip
    parser.add_argument("--seconds", type=float, help="of each window; by default 2, or 4 where the large model is")
    parser.add_argument("--repeats", type=int, default=_REPEATS)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of one run of a model")
    parser.add_argument("--out", type=Path, help="report without its suffix; see `destination`")
    parser.add_argument("--fresh", action="store_true", help="measure again what is measured already")
    parser.add_argument("--minutes", type=float, help="start nothing new after so many; run again to go on")
    parser.add_argument("--only-models", action="store_true", help="write the ONNX files and end")
    return parser.parse_args(arguments)


def destination(options: argparse.Namespace) -> Path:
    """Where the report goes: beside the code, unless windows are other than usual or fewer than usual repeats."""
    if options.out is not None:
        return Path(options.out)
    usual = options.seconds is None and options.repeats >= _REPEATS and options.threads == parse([]).threads
    return HERE / "results" if usual else WORK / "partial"


class Benchmark:
    """What is measured, and what is measured already.

    Args:
        options: the command line.
        ledger: rows of this run and earlier ones.
        machine: as `describe_machine` gives it.
    """

    def __init__(self, options: argparse.Namespace, ledger: Ledger, machine: dict[str, Any]) -> None:
        self._options, self._ledger, self._machine = options, ledger, machine
        models = WORK / "models"
        self._start = Start(models=models, state=WORK / "state", threads=options.threads)
        self._start.state.mkdir(parents=True, exist_ok=True)
        self._cases = [CASES[name] for name in options.cases]
        self._samples = {case.name: draw_samples(case, models, count=SAMPLES) for case in self._cases}
        self._done: set[tuple[int, str, str, int]] = set()

    def run(self) -> bool:
        """Measure what the ledger does not hold yet; False if time ran out before the end."""
        systems = [SYSTEMS[name] for name in self._options.systems]
        plan = list(turns(systems, self._cases, repeats=self._options.repeats))
        ends = time.monotonic() + 60 * self._options.minutes if self._options.minutes else float("inf")
        with tqdm(total=len(plan) * len(self._options.concurrency), unit="window") as bar:
            for turn in plan:
                if time.monotonic() > ends and (self._missing(turn) or self._bare_missing(turn)):
                    return False
                self._take_bare(turn)
                bar.set_description(f"{turn.repeat + 1}/{self._options.repeats} {turn.case.name} {turn.system.name}")
                self._take(turn)
                bar.update(len(self._options.concurrency))
        return True

    def _fingerprint(self, system: System | None, case: Case, *, seconds: float) -> str:
        call = system.forms[case.route].encode(case, self._samples[case.name][0]) if system else None
        return fingerprint(system, case, self._start, call, self._machine, seconds=seconds)

    def _seconds(self, case: Case) -> float:
        return float(self._options.seconds or case.seconds)

    def _held(self, repeat: int, name: str, case: Case, mark: str) -> set[int]:
        """Concurrencies that need no measuring: with `--fresh` those of this run alone."""
        held = self._ledger.concurrencies(repeat, name, case.name, fingerprint=mark)
        if self._options.fresh:
            held = {number for number in held if (repeat, name, case.name, number) in self._done}
        return held

    def _missing(self, turn: Turn) -> tuple[int, ...]:
        mark = self._fingerprint(turn.system, turn.case, seconds=self._seconds(turn.case))
        held = self._held(turn.repeat, turn.system.name, turn.case, mark)
        return tuple(number for number in self._options.concurrency if number not in held)

    def _bare_missing(self, turn: Turn) -> bool:
        mark = self._fingerprint(None, turn.case, seconds=self._seconds(turn.case) / 2)
        return not self._held(turn.repeat, BARE, turn.case, mark).issuperset(BATCHES)

    def _take_bare(self, turn: Turn) -> None:
        if not self._bare_missing(turn):
            return
        seconds = self._seconds(turn.case) / 2
        mark = self._fingerprint(None, turn.case, seconds=seconds)
        models, threads = self._start.models, self._start.threads
        for row in loop(turn.case, models, repeat=turn.repeat, threads=threads, seconds=seconds):
            self._ledger.add(replace(row, fingerprint=mark))
            self._done.add(row.cell)

    def _take(self, turn: Turn) -> None:
        missing = self._missing(turn)
        if not missing:
            return
        samples, plan = self._samples[turn.case.name], Plan(missing, self._options.seconds)
        mark = self._fingerprint(turn.system, turn.case, seconds=self._seconds(turn.case))
        try:
            for row in measure(turn.system, turn.case, self._start, samples, plan, repeat=turn.repeat):
                self._ledger.add(replace(row, fingerprint=mark))
                self._done.add(row.cell)
        except (NotInstalled, Unfit, WrkFailed) as error:
            self._ledger.add(Failure(turn.repeat, turn.system.name, turn.case.name, str(error)))
            tqdm.write(f"{turn.system.name} on {turn.case.name}: {error}")


def _stop(*_: object) -> None:
    """Unwind, so that nothing that was started outlives this process."""
    raise SystemExit(143)


def main() -> int:
    """0 when everything was measured, 1 when some systems were not, 2 when nothing can be, 3 when time ran out."""
    options = parse()
    WORK.mkdir(parents=True, exist_ok=True)
    write_models(WORK / "models")
    if options.only_models:
        return 0
    try:
        require_wrk()
    except WrkFailed as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stop)
    out, machine = destination(options), describe_machine()
    ledger = Ledger(WORK / f"{out.name}.jsonl", report=out.with_suffix(".json"))
    ended = Benchmark(options, ledger, machine).run()
    rows, failures = ledger.rows, ledger.standing_failures
    content = as_content(rows, failures, machine)
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = as_markdown(rows, failures, machine)
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    print(f"written: {out.with_suffix('.md')}, {out.with_suffix('.json')}")
    if not ended:
        print("Not all is measured yet; the same command goes on.")
        return 3
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
