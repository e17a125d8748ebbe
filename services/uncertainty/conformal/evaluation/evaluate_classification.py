"""Coverage, set size and evenness of every score on the traffic-sign test logits, over 200 random halves.

For random halves of one set of items with different scores, the rank of every test score among the calibration scores
has the distribution that the theory states, whatever the items. So hits in each half are independent draws of the
Beta-Binomial law exactly, and the test of Kolmogorov and Smirnov is one of the whole computation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.uncertainty.conformal.evaluation.classification_tables import findings, tables
from services.uncertainty.conformal.evaluation.noisy_logits import measure_noisy
from services.uncertainty.conformal.evaluation.report import Record
from services.uncertainty.conformal.methods.classification.calibration import (
    add_best_label,
    calibrate,
    make_class_taxonomy,
)
from services.uncertainty.conformal.methods.classification.clustering import calibrate_clustered
from services.uncertainty.conformal.methods.classification.rank_calibration import calibrate_ranks
from services.uncertainty.conformal.methods.coverage_distribution import expected_coverage, hits_law
from services.uncertainty.conformal.methods.levels import conformal_quantile
from services.uncertainty.conformal.methods.metrics import set_metrics
from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
from services.uncertainty.conformal.methods.scores import (
    APS,
    RAPS,
    SAPS,
    THR,
    Entmax,
    Inputs,
    Labels,
    Margin,
    Score,
    Sets,
    TopK,
)

_PERCEPTION = Path(__file__).parents[3] / "perception"
LOGITS = _PERCEPTION / "classification" / "traffic-signs-test-logits.npz"
CARD = _PERCEPTION / "models" / "traffic-signs" / "1.0.0" / "card.json"

ALPHAS = ("0.01", "0.05", "0.1", "0.2")
SPLITS = 200
MORE_SPLITS = 2000
"""Further halves, for the test of the law alone: 200 leave it to chance whether a p-value is small."""

CELL_SPLITS = 20
SEED = 8
SCORES: dict[str, Score] = {
    "THR": THR(),
    "RAPS": RAPS(penalty=0.1, free_ranks=2),
    "SAPS": SAPS(weight=0.2),
    "TopK": TopK(),
    "APS": APS(),
    "Margin": Margin(),
    "Entmax": Entmax(gamma=1.5),
}
"""Parameters are set by hand: none was chosen on these items."""


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Labelled items with the numbers that belong to them.

    Attributes:
        logits: divided by the temperature, float64 (N, K).
        labels: (N,).
        numbers: random numbers, (N,).
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    numbers: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


def read_items() -> Items:
    """The official test set as the released classifier sees it; its temperature was fitted on training tracks."""
    with np.load(LOGITS, allow_pickle=False) as archive:
        logits, labels = archive["logits"].astype(np.float64), archive["classes"].astype(np.int64)
    temperature = float(json.loads(CARD.read_text(encoding="utf-8"))["parameters"]["temperature"])
    return Items(logits / temperature, labels, uniforms(SEED, np.arange(len(labels)), Purpose.PREDICTION))


def measure(data: Path) -> Record:
    """All figures; the logits lie in the repository, so no data set is read."""
    items = read_items()
    scores = {name: measure_score(score, items) for name, score in SCORES.items()}
    return {
        "items": len(items),
        "classes": items.logits.shape[1],
        "accuracy": float((items.logits.argmax(axis=1) == items.labels).mean()),
        "splits": SPLITS,
        "more_splits": MORE_SPLITS,
        "calibration": len(items) // 2,
        "scores": scores,
        "sizes": {alpha: {name: one[alpha]["size"] for name, one in scores.items()} for alpha in ALPHAS},
        "noisy": measure_noisy(items.logits, items.labels, items.numbers, SCORES, halves),
        "predictors": measure_predictors(items, splits=CELL_SPLITS),
    }


def halves(count: int, *key: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the calibration half and of the other one, by the numbers of the split."""
    order = np.random.default_rng([SEED, *key]).permutation(count)
    return order[: count // 2], order[count // 2 :]


def measure_score(score: Score, items: Items, *, splits: int = SPLITS, more: int = MORE_SPLITS) -> Record:
    """Figures of one score at each level."""
    every = score.of_all(items.logits, items.numbers)
    own = score.of_labels(items.logits, items.labels, items.numbers)
    drawn: dict[str, list[dict[str, float]]] = {alpha: [] for alpha in ALPHAS}
    for split in range(splits):
        calibration, tests = halves(len(items), split)
        ordered = np.sort(own[calibration])
        for alpha in ALPHAS:
            threshold = conformal_quantile(ordered, alpha, ascending=True).value
            drawn[alpha].append(_figures(every[tests] <= threshold, items.labels[tests], alpha))
    tied = 1 - len(np.unique(own)) / len(own)
    summaries = {alpha: _summary(rows, alpha, len(items)) for alpha, rows in drawn.items()}
    for alpha, hits in _more_hits(own, more).items():
        summaries[alpha]["ks_p_value_of_more"] = _ks_p_value(hits, alpha, len(items), key=2)
    return {"tied": tied, **summaries}


def _more_hits(own: NDArray[np.float64], splits: int) -> dict[str, NDArray[np.float64]]:
    """Hits in further halves."""
    hits = {alpha: np.empty(splits) for alpha in ALPHAS}
    for split in range(splits):
        calibration, tests = halves(len(own), 1, split)
        ordered = np.sort(own[calibration])
        for alpha, found in hits.items():
            threshold = conformal_quantile(ordered, alpha, ascending=True).value
            found[split] = np.count_nonzero(own[tests] <= threshold)
    return hits


def _ks_p_value(hits: NDArray[np.float64], alpha: str, count: int, *, key: int) -> float:
    """Kolmogorov and Smirnov; the discrete law is made continuous by a number of each split: the test is exact."""
    law = hits_law(count // 2, alpha, count - count // 2)
    shares = np.random.default_rng([SEED, key]).random(len(hits))
    return float(stats.kstest(law.cdf(hits) - shares * law.pmf(hits), "uniform").pvalue)


def _figures(sets: Sets, labels: Labels, alpha: str) -> dict[str, float]:
    sizes = sets.sum(axis=1)
    return {
        "hits": float(set_metrics.hits(sets, labels).sum()),
        "size": float(sizes.mean()),
        "empty": float((sizes == 0).mean()),
        "single": float((sizes == 1).mean()),
        "gap": set_metrics.coverage_gap(sets, labels, alpha),
        "sscv": set_metrics.size_stratified_violation(sets, labels, alpha),
    }


def _summary(rows: list[dict[str, float]], alpha: str, count: int) -> Record:
    """Means over the splits, and how the hits compare with their law."""
    calibration, tests = count // 2, count - count // 2
    hits = np.array([one["hits"] for one in rows])
    law = hits_law(calibration, alpha, tests)
    mean, spread = float(hits.mean() / tests), float(law.std() / tests / np.sqrt(len(hits)))
    low = set_metrics.required_coverage(alpha) - 3 * spread
    high = set_metrics.required_coverage(alpha) + 1 / (calibration + 1) + 3 * spread
    return {
        "coverage": mean,
        "expected": expected_coverage(calibration, alpha),
        "band": [low, high],
        "within": bool(low <= mean <= high),
        "deviation": float(hits.std(ddof=1) / tests),
        "deviation_of_law": float(law.std() / tests),
        "ks_p_value": _ks_p_value(hits, alpha, count, key=1),
        **{name: float(np.mean([one[name] for one in rows])) for name in ("size", "empty", "single", "gap", "sscv")},
    }


def measure_predictors(items: Items, *, splits: int) -> Record:
    """Plain, class-conditional, clustered, RC3P and top-1-filled sets of THR and of APS."""
    drawn: dict[str, list[dict[str, float]]] = {}
    for split in range(splits):
        calibration, tests = halves(len(items), split)
        for score_name in ("THR", "APS"):
            for name, sets in _predictors(SCORES[score_name], items, calibration, tests, split).items():
                figures = _figures(sets, items.labels[tests], "0.1")
                macro = set_metrics.macro_coverage(sets, items.labels[tests])
                coverage = figures.pop("hits") / len(tests)
                drawn.setdefault(f"{score_name}, {name}", []).append({**figures, "coverage": coverage, "macro": macro})
    return {name: {key: float(np.mean([one[key] for one in rows])) for key in rows[0]} for name, rows in drawn.items()}


def _predictors(
    score: Score, items: Items, calibration: NDArray[np.intp], tests: NDArray[np.intp], split: int
) -> dict[str, Sets]:
    given: tuple[Score, Inputs, Labels] = score, items.logits[calibration], items.labels[calibration]
    numbers, asked = items.numbers[calibration], items.logits[tests]
    classes = make_class_taxonomy(items.logits.shape[1])
    plain = calibrate(*given, uniforms=numbers)
    by_class = calibrate(*given, uniforms=numbers, taxonomy=classes)
    made: dict[str, Callable[..., Sets]] = {
        "plain": plain.sets,
        "by class": by_class.sets,
        "clustered": calibrate_clustered(*given, alpha="0.1", seed=split, numbers=numbers).sets,
        "RC3P": calibrate_ranks(*given, uniforms=numbers).sets,
    }
    found = {name: sets(asked, "0.1", uniforms=items.numbers[tests]) for name, sets in made.items()}
    return {**found, "plain, empty sets filled": add_best_label(found["plain"], asked)}


def render(record: Record) -> list[str]:
    """The section of the report."""
    return tables(record)


__all__ = ["findings", "measure", "render"]
