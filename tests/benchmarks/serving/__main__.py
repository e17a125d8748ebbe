"""`make bench-serving`: every system on every case at every concurrency, and the tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tests.benchmarks.serving.bare import BATCHES, loop
from tests.benchmarks.serving.cases import CASES, Case, Sample, draw_samples
from tests.benchmarks.serving.environments import NotInstalled
from tests.benchmarks.serving.machine import describe_machine
from tests.benchmarks.serving.measuring import Plan, Unfit, measure
from tests.benchmarks.serving.models import write_models
from tests.benchmarks.serving.report import as_content, as_markdown
from tests.benchmarks.serving.rows import BARE, Failure, Ledger
from tests.benchmarks.serving.systems import SYSTEMS, Start, System
from tests.benchmarks.serving.wrk import WrkFailed, require_wrk

HERE = Path(__file__).parent
WORK = Path(".benchmarks/serving")
_SAMPLES = 8


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
            shift = (repeat * len(cases) + number) % len(systems)
            for system in (*systems[shift:], *systems[:shift]):
                yield Turn(repeat, system, case)


def _names(known: Sequence[str], text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := sorted(set(names) - set(known)):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving", description=__doc__)
    parser.add_argument("--systems", type=lambda text: _names(list(SYSTEMS), text), default=list(SYSTEMS))
    parser.add_argument("--models", type=lambda text: _names(list(CASES), text), default=list(CASES))
    parser.add_argument("--concurrency", type=lambda text: [int(part) for part in text.split(",")],
                        default=[1, 4, 16, 64])  # fmt: skip
    parser.add_argument("--seconds", type=float, help="of each window; by default 2 or, for large, 4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of one run of a model")
    parser.add_argument("--out", type=Path, help="report without its suffix; beside the code after a full run only")
    parser.add_argument("--resume", action="store_true", help="go on with the rows of the last run that had this name")
    parser.add_argument("--only-models", action="store_true", help="write the ONNX files and end")
    return parser.parse_args(arguments)


def destination(options: argparse.Namespace) -> Path:
    """Where the report goes: a part of the whole never overwrites the whole."""
    if options.out is not None:
        return Path(options.out)
    full = parse([])
    keys = ("systems", "models", "concurrency", "seconds", "repeats")
    whole = all(getattr(options, key) == getattr(full, key) for key in keys)
    return HERE / "results" if whole else WORK / "partial"


def run(options: argparse.Namespace, ledger: Ledger) -> None:
    """Measure what the ledger does not hold yet."""
    models = WORK / "models"
    start = Start(models=models, state=WORK / "state", threads=options.threads)
    start.state.mkdir(parents=True, exist_ok=True)
    cases = [CASES[name] for name in options.models]
    systems = [SYSTEMS[name] for name in options.systems]
    samples = {case.model: draw_samples(case, models, count=_SAMPLES) for case in cases}
    plan = list(turns(systems, cases, repeats=options.repeats))
    with tqdm(total=len(plan) * len(options.concurrency), unit="window") as bar:
        for turn in plan:
            _bare(turn.case, turn.repeat, options, ledger)
            bar.set_description(f"{turn.repeat + 1}/{options.repeats} {turn.case.model} {turn.system.name}")
            _take(turn, start, samples[turn.case.model], options, ledger)
            bar.update(len(options.concurrency))


def _bare(case: Case, repeat: int, options: argparse.Namespace, ledger: Ledger) -> None:
    if not ledger.concurrencies(repeat, BARE, case.model).issuperset(BATCHES):
        seconds = (options.seconds or case.seconds) / 2
        for row in loop(case, WORK / "models", repeat=repeat, threads=options.threads, seconds=seconds):
            ledger.add(row)


def _take(turn: Turn, start: Start, samples: Sequence[Sample], options: argparse.Namespace, ledger: Ledger) -> None:
    held = ledger.concurrencies(turn.repeat, turn.system.name, turn.case.model)
    missing = tuple(number for number in options.concurrency if number not in held)
    if not missing:
        return
    plan = Plan(missing, options.seconds)
    try:
        for row in measure(turn.system, turn.case, start, samples, plan, repeat=turn.repeat):
            ledger.add(row)
    except (NotInstalled, Unfit, WrkFailed) as error:
        ledger.add(Failure(turn.repeat, turn.system.name, turn.case.model, str(error)))
        tqdm.write(f"{turn.system.name} on {turn.case.model}: {error}")


def main() -> int:
    """0 when everything was measured, 1 when some systems were not, 2 when nothing can be."""
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
    out = destination(options)
    rows = WORK / f"{out.name}.jsonl"
    if not options.resume:
        rows.unlink(missing_ok=True)
    ledger = Ledger(rows)
    run(options, ledger)
    machine, failures = describe_machine(), ledger.standing_failures
    content = as_content(ledger.rows, failures, machine)
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = as_markdown(ledger.rows, failures, machine)
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    print(f"written: {out.with_suffix('.md')}, {out.with_suffix('.json')}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
