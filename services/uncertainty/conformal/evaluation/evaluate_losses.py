"""Training losses beside the plain ones, on generated items, several seeds: whether they do what they are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.uncertainty.conformal.evaluation import synthetic_experiments, synthetic_regressions
from services.uncertainty.conformal.evaluation.airfoil import summary
from services.uncertainty.conformal.evaluation.report import Record, head, row
from services.uncertainty.conformal.evaluation.synthetic_experiments import Figures

FIRST, SEEDS = 100, 10
"""Parameters were set by hand on seeds below 10."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A run for a seed, and what the page says of it; the first way is the plain one."""

    run: Callable[[int], Figures]
    title: str


EXPERIMENTS = {
    "small sets": Experiment(
        synthetic_experiments.small_sets,
        "A linear classifier of eight classes with 7 % outliers, THR sets; all go on from where cross entropy has led",
    ),
    "adapted": Experiment(synthetic_experiments.adapted, "Logits of ten labels with squared gaps, THR sets"),
    "temperatures": Experiment(
        synthetic_experiments.temperatures, "Logits of a hundred labels with a long tail, APS sets"
    ),
    "hard items": Experiment(
        synthetic_experiments.hard_items,
        "Six classes, 30 % of the labels drawn by lot; APS sets of a network that can learn them by heart",
    ),
    "ordinal": Experiment(synthetic_experiments.ordinal_sets, "Ten ordered labels, 800 items to learn from, THR sets"),
    "widening": Experiment(
        synthetic_regressions.widening, "A curve whose spread grows with the input; length of intervals"
    ),
    "forked": Experiment(
        synthetic_regressions.forked, "Targets on one of two branches; length of intervals or their unions"
    ),
}


def measure(data: Path, *, seeds: int = SEEDS) -> Record:
    """Figures of every way, means over seeds; everything is generated, so no data set is read.

    Args:
        data: not needed.
        seeds: 2 or more. Each draws its own items, first weights and batches.
    """
    return {"seeds": seeds, "experiments": {name: _measure(one.run, seeds) for name, one in EXPERIMENTS.items()}}


def _measure(run: Callable[[int], Figures], seeds: int) -> Record:
    """Each figure's mean and error, and the sizes relative to the plain way's of the same seed."""
    runs = [run(FIRST + seed) for seed in range(seeds)]
    plain = next(iter(runs[0]))
    found: Record = {}
    for way, figures in runs[0].items():
        relative = np.array([one[way]["size"] / one[plain]["size"] for one in runs])
        found[way] = {name: summary(np.array([one[way][name] for one in runs])) for name in figures}
        found[way]["relative"] = summary(relative)
    return found


def render(record: Record) -> list[str]:
    """The section of the report."""
    lines = [
        "## Training losses",
        "",
        "All synthetic: items are generated, and each experiment is made so that the loss has something to do. 90 %",
        f"wanted; calibrated and measured on items of their own; means of {record['seeds']} seeds and standard errors.",
        "Relative: size divided by that of the first row with the same seed. The temperature of ConfTS is where its",
        "descent is made to end: the objective has no minimum above 0.",
    ]
    for name, ways in record["experiments"].items():
        more = [figure for figure in next(iter(ways.values())) if figure not in {"coverage", "size", "relative"}]
        lines += ["", f"{EXPERIMENTS[name].title}:", "", *head("", "coverage", "size", "relative", *more)]
        figures = ("coverage", "size", "relative", *more)
        lines += [row(way, *(_figure(one[figure]) for figure in figures)) for way, one in ways.items()]
    return lines


def findings(record: Record) -> list[str]:
    """Write the findings of the section, a sentence or two each."""
    found = record["experiments"]
    smaller = [
        f"{way} {100 * (1 - one['relative']['mean']):.0f} %"
        for name in ("small sets", "adapted", "temperatures", "ordinal", "widening")
        for way, one in list(found[name].items())[1:]
        if way != "TS"
    ]
    hard = {way: 100 * one["hard"]["mean"] for way, one in found["hard items"].items()}
    lifted = (
        f"from {hard['cross entropy']:.0f} to {hard['uncertainty-aware']:.0f} %, for larger sets; 90 % is not reached"
    )
    return [
        f"Training losses, synthetic: at equal coverage sets are smaller than plain ones by {', '.join(smaller)}.",
        f"Uncertainty-aware training lifts the coverage of items whose labels are random {lifted}.",
    ]


def _figure(figure: Record) -> str:
    return f"{figure['mean']:.3f} ± {figure['error']:.3f}"
