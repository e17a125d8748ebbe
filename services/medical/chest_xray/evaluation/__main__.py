"""Command line: `python -m services.medical.chest_xray.evaluation run`, and `report` of what there is."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Final

from tqdm import tqdm

from services.medical.chest_xray.evaluation.experiments import Plan
from services.medical.chest_xray.evaluation.figures import summarise
from services.medical.chest_xray.evaluation.film_set import FilmSet
from services.medical.chest_xray.evaluation.inserted import inserted_films
from services.medical.chest_xray.evaluation.report import FIGURES, REPORT, write_report
from services.medical.chest_xray.evaluation.subjects import read_models
from shared.command_line import add_data_option, add_minutes_option, deadline_of
from shared.result_lines import open_lines, read_lines, write_line

RUNS: Final = Path(__file__).parent / "runs.jsonl"


def parser() -> argparse.ArgumentParser:
    """The options."""
    whole = argparse.ArgumentParser(prog="python -m services.medical.chest_xray.evaluation", description=__doc__)
    whole.add_argument(
        "command", choices=["run", "report", "all"], help="go on with what is left; write the report; both"
    )
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=RUNS, help="file of results, one to a line")
    whole.add_argument("--cache", type=Path, default=Path("runs/chest-xray"), help="folder for features of baselines")
    whole.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="ONNX file of a model trained on the training split; with {fold} in its name, of five that were trained "
        "without one fold each",
    )
    whole.add_argument("--without-inserted", action="store_true", help="leave out films with inserted findings")
    add_minutes_option(whole)
    return whole


def main(arguments: list[str] | None = None) -> None:
    """What is finished is never computed again; each line is written down as soon as it is finished."""
    options = parser().parse_args(arguments)
    if options.command in ("run", "all"):
        run(options)
    if options.command in ("report", "all"):
        figures = summarise(FilmSet.of_folder(options.data), read_lines(options.out))
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_report(figures)
        print(REPORT)


def run(options: argparse.Namespace) -> None:
    """Go on with what is left."""
    until_s = deadline_of(options)
    inserted = None if options.without_inserted else inserted_films(options.data, options.cache)
    plan = Plan(options.data, options.cache, read_models(options.model), inserted)
    with open_lines(options.out) as lines:
        done = {line["key"] for line in read_lines(options.out)}
        left = [one for one in plan.experiments() if one.key not in done]
        for experiment in tqdm(left, unit="experiment"):
            if time.monotonic() > until_s:
                break
            write_line(lines, experiment.run())


if __name__ == "__main__":
    main()
