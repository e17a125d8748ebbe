"""Command line of the measurements: `python -m services.uncertainty.explanation.training --help`."""

from __future__ import annotations

import argparse
import json
import platform
import time

from services.uncertainty.explanation.training import blood_cells, photographs_report
from services.uncertainty.explanation.training.evaluate import PARTS, Evaluation
from services.uncertainty.explanation.training.photographs import PARTS as PHOTOGRAPH_PARTS
from services.uncertainty.explanation.training.photographs import PhotographEvaluation
from services.uncertainty.explanation.training.report import EVALUATION, REPORT, render
from shared.command_line import add_data_option, add_threads_option


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog="python -m services.uncertainty.explanation.training", description=__doc__)
    add_data_option(whole)
    add_threads_option(whole, about="CPU threads; the cost is measured on one")
    commands = whole.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train the blood-cell classifier that is asked to point at boxes")
    train.set_defaults(act=_train)
    evaluated = commands.add_parser("evaluate", help="measure every method; an unfinished run is gone on with")
    evaluated.add_argument("--scale", type=float, default=1.0, help="share of the pictures, for a quick look")
    evaluated.add_argument("--only", choices=PARTS, action="append", help="parts to measure again; all by default")
    evaluated.set_defaults(act=_evaluate)
    photographed = commands.add_parser(
        "photographs", help="measure the classifier of ImageNet's classes on photographs"
    )
    photographed.add_argument(
        "--only", choices=PHOTOGRAPH_PARTS, action="append", help="parts to measure again; all by default"
    )
    photographed.set_defaults(act=_photographs)
    return whole


def _train(options: argparse.Namespace) -> None:
    accuracy = blood_cells.train(options.data / blood_cells.FOLDER)
    print(f"accuracy on crops of the validation split: {accuracy:.2%}")


def _evaluate(options: argparse.Namespace) -> None:
    unfinished = EVALUATION.with_suffix(".part")
    record = json.loads(unfinished.read_text(encoding="utf-8")) if unfinished.exists() else {}
    if options.only:
        record = json.loads(EVALUATION.read_text(encoding="utf-8"))
    evaluation = Evaluation(options.data, threads=options.threads, scale=options.scale)
    for part in options.only or PARTS:
        if part in record and not options.only:
            continue
        began = time.monotonic()
        record[part] = getattr(evaluation, part)()
        record.setdefault("seconds", {})[part] = round(time.monotonic() - began, 1)
        unfinished.write_text(json.dumps(record), encoding="utf-8")
    record["machine"] = f"{platform.machine()} CPU, {options.threads} threads, shared with other work"
    record["scale"] = options.scale
    EVALUATION.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    REPORT.write_text(render(record), encoding="utf-8")
    unfinished.unlink()
    print(REPORT.read_text(encoding="utf-8"))


def _photographs(options: argparse.Namespace) -> None:
    file, page = photographs_report.EVALUATION, photographs_report.REPORT
    record = json.loads(file.read_text(encoding="utf-8")) if options.only and file.exists() else {}
    evaluation = PhotographEvaluation(options.data, threads=options.threads)
    for part in options.only or PHOTOGRAPH_PARTS:
        record[part] = evaluation.measure(part)
    record["photographs"] = len(evaluation.photographs)
    record["machine"] = f"{platform.machine()} CPU, threads: {options.threads}, shared with other work"
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if set(PHOTOGRAPH_PARTS) <= set(record):
        page.write_text(photographs_report.render(record), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    options.act(options)


if __name__ == "__main__":
    main()
