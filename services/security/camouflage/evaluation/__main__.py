"""Command line: `python -m services.security.camouflage.evaluation run`, and `report` of what there is."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

import torch

from services.security.camouflage.evaluation.backgrounds import split_backgrounds
from services.security.camouflage.evaluation.experiments import Scale, experiments
from services.security.camouflage.evaluation.figures import summarise, write_figures
from services.security.camouflage.evaluation.hardening_sets import write_hardening_sets
from services.security.camouflage.evaluation.mitsuba_reference import find_interpreter
from services.security.camouflage.evaluation.models import ModelShelf
from services.security.camouflage.evaluation.report import REPORT, write_report
from services.security.camouflage.evaluation.run_files import RunFiles
from services.security.camouflage.evaluation.running import NotPossible, Runner
from shared.command_line import add_data_option, add_minutes_option, add_threads_option, deadline_of
from shared.result_lines import open_lines, read_lines, write_line
from shared.settings import get_settings

RUNS: Final = Path(__file__).parent / "runs.jsonl"


def parser() -> argparse.ArgumentParser:
    """The options."""
    whole = argparse.ArgumentParser(prog="python -m services.security.camouflage.evaluation", description=__doc__)
    whole.add_argument(
        "command",
        choices=["run", "report", "all", "hardening-sets"],
        help="go on with what is left; write the report; both; write what a detector is fine-tuned with",
    )
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=RUNS, help="file of finished experiments, one to a line")
    whole.add_argument("--folder", type=Path, default=Path("runs/camouflage"), help="of textures and unfinished runs")
    whole.add_argument("--hardened", type=Path, help="folder with card.json and detector.onnx of a fine-tuned detector")
    add_threads_option(whole, default=1)
    add_minutes_option(whole)
    for name, words in (("steps", "of the optimiser"), ("batch", "pictures in a step"), ("azimuths", "of the grid")):
        whole.add_argument(f"--{name}", type=int, default=getattr(Scale(), name), help=words)
    whole.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Finished experiments are never computed again; each is written down as soon as it is finished."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.command in ("run", "all"):
        run(options)
    if options.command == "hardening-sets":
        write_hardening_sets(_runner(options))
    if options.command in ("report", "all"):
        figures = summarise(read_lines(options.out), has_prior=_shelf(options).has_prior)
        write_figures(figures)
        write_report(figures)
        print(REPORT)


def run(options: argparse.Namespace) -> None:
    """Go on with the experiments that are left."""
    until_s = deadline_of(options)
    runner = _runner(options)
    planned = experiments(hardened=runner.shelf.has_hardened, reference=find_interpreter() is not None)
    with open_lines(options.out) as lines:
        done = {line["key"] for line in read_lines(options.out)}
        for experiment in planned:
            if experiment.key(runner.scale) in done:
                continue
            if time.monotonic() > until_s:
                break
            try:
                write_line(lines, runner.run(experiment))
            except NotPossible as reason:
                print(f"{experiment.name} is left out: {reason}")


def _runner(options: argparse.Namespace) -> Runner:
    data = options.data if options.data is not None and options.data.is_dir() else None
    split = split_backgrounds(data)
    scale = Scale(
        steps=options.steps,
        batch=options.batch,
        azimuths=options.azimuths,
        seed=options.seed,
        backgrounds=split.kind,
    )
    return Runner(scale, _shelf(options), split, RunFiles(options.folder), options.threads)


def _shelf(options: argparse.Namespace) -> ModelShelf:
    return ModelShelf(get_settings(), options.hardened)


if __name__ == "__main__":
    main()
