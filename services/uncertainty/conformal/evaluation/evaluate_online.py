"""Streams measured: hourly wind output and fine dust, where a calibration that stands still fails.

A line is fitted on the first 1,000 hours, the next 1,000 calibrate; from then on every hour is predicted from the 24
before. All methods see the same residuals. EnbPI has bootstrap lines on the first 2,000 hours instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from services.uncertainty.conformal.evaluation import published_tables
from services.uncertainty.conformal.evaluation.airfoil import fit_line, predict_line
from services.uncertainty.conformal.evaluation.published_tables import Table
from services.uncertainty.conformal.evaluation.report import Record
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.levels import ordered_quantile
from services.uncertainty.conformal.methods.online.adaptive_inference import (
    OnlineMethod,
    adaptive_error_bound,
    create_aci,
    step,
)
from services.uncertainty.conformal.methods.online.aggregated_aci import create_agaci, create_dtaci
from services.uncertainty.conformal.methods.online.conformal_pid import choose_saturation, create_conformal_pid
from services.uncertainty.conformal.methods.regression.ensembles import create_sliding_residuals, out_of_bag

ALPHA = 0.1
FITTING = CALIBRATING = 1000
GAMMAS = (0.001, 0.005, 0.01, 0.05)
ROLLING = 500
"""Hours of the stretches whose coverage is compared."""
BATCHES = 20
"""Stretches from whose means standard errors are taken, as neighbouring hours depend on each other."""
MODELS = 30
STARTS = (0, 1000, 2000, 3000)
"""First hours of further static splits: how far one falls off depends on the season that it has seen."""
SERIES: dict[str, Callable[[Path], Table]] = {
    "wind": published_tables.wind,
    "beijing air": published_tables.beijing_air,
}


def measure(data: Path, *, limit: int | None = None) -> Record:
    """Measure every method on every series; about three minutes on one core.

    Args:
        data: the folder of data sets.
        limit: how many hours after calibration, at least 500; all where not given.
    """
    return {"series": {name: _series(read(data), limit) for name, read in SERIES.items()}}


def _series(table: Table, limit: int | None) -> Record:
    known, later = _residuals(table)
    later = later[:limit]
    figures = {"static split": _static(known, later)}
    for name, state in _methods(known, len(later)).items():
        figures[name] = _run(state, later)
    bagged, ahead = _measure_bagging(table)
    for name, narrowest in (("EnbPI, symmetric", False), ("EnbPI, narrowest", True)):
        figures[name] = _run(
            create_sliding_residuals(ALPHA, bagged, capacity=CALIBRATING, narrowest=narrowest), ahead[:limit]
        )
    starts = {str(start): _static(*_residuals(_from(table, start))) for start in STARTS}
    return {"hours": len(later), "methods": figures, "static_starts": starts}


def _residuals(table: Table) -> tuple[FloatArray, FloatArray]:
    """Signed residuals of a line on the first hours: those that calibrate, and all later ones."""
    fitted = fit_line(table.inputs[:FITTING], table.targets[:FITTING])
    residuals = table.targets - predict_line(fitted, table.inputs)
    return residuals[FITTING : FITTING + CALIBRATING], residuals[FITTING + CALIBRATING :]


def _from(table: Table, start: int) -> Table:
    return Table(table.inputs[start:], table.targets[start:])


def _methods(known: FloatArray, horizon: int) -> dict[str, OnlineMethod]:
    scores = np.abs(known)
    first, scale = ordered_quantile(np.sort(scores), ALPHA), float(np.ptp(scores))
    tracking = create_conformal_pid(ALPHA, first_bound=first, scores=scores)
    integral = replace(tracking, gain=scale, saturation=choose_saturation(horizon, 0.5))
    adapted = {f"ACI, gamma {gamma}": create_aci(ALPHA, gamma=gamma, scores=scores) for gamma in GAMMAS}
    return {
        "rolling window alone": create_sliding_residuals(ALPHA, known, narrowest=False),
        **adapted,
        "AgACI": create_agaci(ALPHA, scores=scores),
        "DtACI": create_dtaci(ALPHA, scores=scores),
        "quantile tracking": tracking,
        "conformal PI": integral,
    }


def _static(known: FloatArray, later: FloatArray) -> Record:
    bound = ordered_quantile(np.sort(np.abs(known)), ALPHA)
    return _figures(np.abs(later) > bound, np.full(len(later), 2 * bound))


def _run(state: OnlineMethod, residuals: FloatArray) -> Record:
    missed, widths = np.zeros(len(residuals), dtype=np.bool_), np.empty(len(residuals))
    for hour, residual in enumerate(residuals.tolist()):
        widths[hour] = sum(state.bounds())
        state, missed[hour] = step(state, below=-residual, above=residual)
    figures = _figures(missed, widths)
    gamma = getattr(state, "gamma", 0.0)
    if gamma >= min(GAMMAS):
        figures["regret"] = _regret(missed, gamma)
    return figures


def _figures(missed: np.ndarray[Any, np.dtype[np.bool_]], widths: FloatArray) -> Record:
    held = 1 - missed.astype(np.float64)
    rolling = np.convolve(held, np.full(ROLLING, 1 / ROLLING), mode="valid")
    batches = np.array([part.mean() for part in np.array_split(held, BATCHES)])
    return {
        "coverage": float(held.mean()),
        "error": float(batches.std(ddof=1) / np.sqrt(BATCHES)),
        "worst": float(rolling.min()),
        "best": float(rolling.max()),
        "width": float(np.median(np.maximum(widths, 0))),
        "infinite": float((widths == np.inf).mean()),
        "empty": float((widths < 0).mean()),
    }


def _regret(missed: np.ndarray[Any, np.dtype[np.bool_]], gamma: float) -> Record:
    """|mean error - alpha| against the theorem's bound at each number of steps."""
    steps = np.arange(1, len(missed) + 1)
    gaps = np.abs(np.cumsum(missed) / steps - ALPHA)
    bounds = np.array([adaptive_error_bound(ALPHA, gamma, int(count)) for count in steps])
    return {
        "above": int((gaps > bounds + 1e-12).sum()),
        "largest_share": float((gaps / bounds).max()),
        "final_gap": float(gaps[-1]),
        "final_bound": float(bounds[-1]),
    }


def _measure_bagging(table: Table) -> tuple[FloatArray, FloatArray]:
    """Signed residuals of bootstrap lines: out of bag on the known hours, and of the mean model later."""
    count, random = FITTING + CALIBRATING, np.random.default_rng(0)
    seen, models = np.zeros((MODELS, count), dtype=np.bool_), []
    for model in range(MODELS):
        chosen = random.integers(0, count, count)
        seen[model, chosen] = True
        models.append(fit_line(table.inputs[chosen], table.targets[chosen]))
    bag = out_of_bag(seen)
    everything = np.stack([predict_line(model, table.inputs) for model in models])
    known = table.targets[:count][bag.usable] - bag.of_training(everything[:, :count])
    return known, table.targets[count:] - bag.of_new(everything[:, count:]).mean(axis=0)


def render(record: Record) -> list[str]:
    """The section of the report."""
    result = record["series"]
    lines = [
        "## Streams",
        "",
        (
            f"90 % wanted, one hour ahead by a line on the last {published_tables.LAGS} hours. "
            "Coverage with its standard error"
        ),
        f"(from means of {BATCHES} stretches); lowest and highest coverage of any {ROLLING} hours; median width in the",
        "unit of the series, infinite ones counted as such; share of infinite and of empty intervals.",
    ]
    for name, series in result.items():
        lines += ["", f"### {name}, {series['hours']:,} hours", "", *_methods_table(series["methods"])]
        lines += ["", "The static split, begun later: " + _starts(series["static_starts"])]
    lines += ["", *_regret_table(result)]
    return lines


def findings(record: Record) -> list[str]:
    """Write the findings of the section, a sentence or two each."""
    lines, regrets = [], []
    for name, series in record["series"].items():
        methods = dict(series["methods"])
        begun = [methods.pop("static split"), *series["static_starts"].values()]
        regrets += [one["regret"] for one in methods.values() if "regret" in one]
        lines.append(
            f"{name.capitalize()}, 90 % wanted: a static split covers {_range(begun)} %, by when it was begun; "
            f"methods that adapt cover {_range(list(methods.values()))} %."
        )
    within, used = sum(one["above"] == 0 for one in regrets), max(one["largest_share"] for one in regrets)
    bound = f"The bound of adaptive conformal inference holds at every step in {within} of {len(regrets)} runs"
    return [*lines, f"{bound}; at most {used:.0%} of it is used."]


def _range(figures: list[Record]) -> str:
    shares = [one["coverage"] for one in figures]
    return f"{100 * min(shares):.1f} to {100 * max(shares):.1f}"


def _methods_table(methods: Record) -> Iterator[str]:
    yield "| method | coverage, % | lowest | highest | median width | infinite, % | empty, % |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in methods.items():
        yield (
            f"| {name} | {100 * one['coverage']:.2f} ± {100 * one['error']:.2f} | {100 * one['worst']:.1f} "
            f"| {100 * one['best']:.1f} | {one['width']:.2f} | {100 * one['infinite']:.2f} | {100 * one['empty']:.2f} |"
        )


def _starts(starts: Record) -> str:
    parts = (
        f"hour {start} {100 * one['coverage']:.1f} % (lowest {100 * one['worst']:.1f} %)"
        for start, one in starts.items()
    )
    return ", ".join(parts) + "."


def _regret_table(result: Record) -> Iterator[str]:
    yield "### The theorem of adaptive conformal inference"
    yield ""
    yield "abs(mean error - alpha) against its bound (max(alpha, 1 - alpha) + gamma) / (gamma T) at each T:"
    yield ""
    yield "| series | method | T above the bound | largest share of it | at the end | bound at the end |"
    yield "|---|---|---|---|---|---|"
    for name, series in result.items():
        for method, one in series["methods"].items():
            if regret := one.get("regret"):
                yield (
                    f"| {name} | {method} | {regret['above']} of {series['hours']} | {regret['largest_share']:.3f} "
                    f"| {regret['final_gap']:.5f} | {regret['final_bound']:.5f} |"
                )
