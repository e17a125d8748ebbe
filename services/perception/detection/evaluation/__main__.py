"""Command line: `python -m services.perception.detection.evaluation run`, and `report` of what there is."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

import torch

from services.perception.detection.evaluation.choices import pilots
from services.perception.detection.evaluation.experiments import experiments
from services.perception.detection.evaluation.report import REPORT, write_report
from services.perception.detection.evaluation.running import Runner
from shared.command_line import add_data_option, add_minutes_option, add_threads_option, deadline_of
from shared.result_lines import open_lines, read_lines, write_line

RUNS: Final = Path(__file__).parent / "runs.jsonl"


def parser() -> argparse.ArgumentParser:
    """The options."""
    whole = argparse.ArgumentParser(prog="python -m services.perception.detection.evaluation", description=__doc__)
    whole.add_argument(
        "command",
        choices=["choose", "run", "report", "all"],
        help="adapt from source to source; go on with what is left; write the report; the last two",
    )
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=RUNS, help="file of finished runs, one to a line")
    whole.add_argument("--checkpoints", type=Path, default=Path("runs/adaptation"), help="folder of unfinished runs")
    add_threads_option(whole)
    whole.add_argument("--burn-in", type=int, default=400, help="steps with labels alone")
    whole.add_argument("--steps", type=int, default=300, help="steps after them")
    whole.add_argument("--seeds", type=int, default=3, help="of the methods that are repeated")
    add_minutes_option(whole)
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Finished runs are never computed again; each is written down as soon as it is finished."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.command in ("choose", "run", "all"):
        run(options)
    if options.command in ("report", "all"):
        write_report(read_lines(options.out))
        print(REPORT)


def run(options: argparse.Namespace) -> None:
    """Go on with the experiments that are left."""
    until_s = deadline_of(options)
    runner = Runner(options.data, options.checkpoints, options.burn_in, options.steps)
    with open_lines(options.out) as lines:
        done = {line["key"] for line in read_lines(options.out)}
        planned = pilots() if options.command == "choose" else experiments(seeds=options.seeds)
        for experiment in planned:
            if experiment.key in done:
                continue
            if time.monotonic() > until_s:
                break
            write_line(lines, runner.run(experiment))


if __name__ == "__main__":
    main()
