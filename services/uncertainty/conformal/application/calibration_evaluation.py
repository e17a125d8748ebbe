"""Evaluation of a calibration: metrics of sets and intervals on labelled items, with exact intervals of every share."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.calibration_summaries import finite_or_none
from services.uncertainty.conformal.application.class_labels import ClassLabels, name_class
from services.uncertainty.conformal.application.classification_items import Items
from services.uncertainty.conformal.application.costs import refuse_costly
from services.uncertainty.conformal.application.evaluation_charts import draw_coverage, draw_sizes
from services.uncertainty.conformal.application.item_draws import ItemDraws
from services.uncertainty.conformal.application.prediction import (
    compute_p_values,
    draw_for_items,
    predict_intervals,
    predict_sets,
    refuse_costly_sets,
    refuse_options_of_sets,
    warn_of_unknown_groups,
)
from services.uncertainty.conformal.application.regression_fit import Points, crossed_warnings
from services.uncertainty.conformal.methods.classification.calibration import Calibration
from services.uncertainty.conformal.methods.classification.rank_calibration import RankCalibration
from services.uncertainty.conformal.methods.coverage_distribution import binomial_interval, hits_interval, hits_p_value
from services.uncertainty.conformal.methods.metrics import set_metrics
from services.uncertainty.conformal.methods.metrics.efficiency_criteria import criteria
from services.uncertainty.conformal.methods.metrics.interval_scores import winkler_scores
from services.uncertainty.conformal.methods.metrics.worst_slab_coverage import (
    DIRECTIONS,
    SEARCHED_ITEMS,
    worst_slab_coverage,
)
from services.uncertainty.conformal.methods.regression.split_regression import Intervals, RegressionCalibration
from services.uncertainty.conformal.methods.ties import find_ties
from services.uncertainty.conformal.schemas.evaluations import (
    ChartKind,
    ClassificationMetrics,
    Coverage,
    EvaluationAnswer,
    EvaluationOptions,
    RegressionMetrics,
    StratumCoverage,
)
from services.uncertainty.conformal.schemas.predictions import PredictionOptions
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from services.uncertainty.conformal.storage.serialization import AnyCalibration, ClassifierCalibration
from shared.imaging.charts import Plot

TENTHS = 10
CRITERIA_LIMIT = 10_000_000
"""Most p-values that the criteria are computed of."""
SLAB_ITEMS = 4


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a calibration, and what its charts show.

    Attributes:
        answer: the metrics.
        sizes: size of each set or length of each interval, (N,).
        most: number of classes K, the largest possible size; None for lengths.
    """

    answer: EvaluationAnswer
    sizes: NDArray[np.float64]
    most: int | None

    def plot(self, kind: ChartKind) -> Plot:
        """Draw one kind of chart."""
        if kind is ChartKind.COVERAGE:
            return draw_coverage(self.answer)
        return draw_sizes(self.sizes, self.most, self.answer.alpha)


def evaluate_sets(
    entry: CalibrationEntry,
    calibration: ClassifierCalibration,
    items: Items,
    options: EvaluationOptions,
    features: NDArray[np.float64] | None,
) -> Evaluation:
    """Evaluate the sets of labelled items.

    Args:
        entry: description of the calibration.
        calibration: to evaluate.
        items: with labels.
        options: level and draws.
        features: (N, F) for the worst slab, if any.
    """
    alpha = options.alpha or entry.options.alpha[0]
    prediction = PredictionOptions(seed=options.seed, first_item=options.first_item, force_top1=options.force_top1)
    labels = items.labels if items.labels is not None else np.empty(0, np.int64)
    refuse_costly_sets(calibration, items, 2)
    if features is not None:
        work = DIRECTIONS * min(SEARCHED_ITEMS, len(features)) * (4e-9 * features.shape[1] + 3e-7)
        what = f"Looking for a slab of {features.shape[1]} features"
        refuse_costly("/body/slab_features", what, numbers=items.inputs.size + features.size, seconds=work)
    version = entry.answer.version
    draws = draw_for_items(calibration, items, prediction, version=version, by_repetition=True)
    predicted = predict_sets(calibration, items, prediction, [alpha], draws)
    sets = predicted.sets[0]
    covered = set_metrics.hits(sets, labels)
    measured = _metrics(sets, items, labels, alpha).model_copy(
        update={
            "worst_slab_coverage": _slab(features, covered, options.seed or 0),
            "criteria": _criteria(calibration, items, prediction, draws, alpha),
        }
    )
    answer = EvaluationAnswer(
        calibration=entry.answer.id,
        version=entry.answer.version,
        model=entry.answer.model,
        alpha=alpha,
        coverage=_coverage(covered, _marginal_scores(calibration), alpha, filled=options.force_top1),
        classification=measured,
        warnings=[*predicted.warnings, *entry.answer.warnings],
    )
    return Evaluation(answer, sets.sum(axis=1).astype(np.float64), int(sets.shape[1]))


def _metrics(sets: NDArray[np.bool_], items: Items, labels: NDArray[np.int64], alpha: float) -> ClassificationMetrics:
    """Measure what needs the sets and labels alone: no features, no p-values."""
    single = set_metrics.singletons(sets, labels)
    sizes = sets.sum(axis=1)
    plain = items.name != "features"
    return ClassificationMetrics(
        average_size=set_metrics.average_size(sets),
        size_histogram=set_metrics.size_histogram(sets).tolist(),
        empty=int((sizes == 0).sum()),
        full=int((sizes == sets.shape[1]).sum()),
        singleton_rate=single.rate,
        singleton_right=single.right,
        singleton_accuracy=single.accuracy,
        macro_coverage=set_metrics.macro_coverage(sets, labels),
        coverage_gap=set_metrics.coverage_gap(sets, labels, alpha),
        violated_classes=set_metrics.violated_classes(sets, labels, alpha),
        size_stratified_violation=set_metrics.size_stratified_violation(sets, labels, alpha),
        difficulty_violation=set_metrics.difficulty_violation(items.inputs, sets, labels, alpha) if plain else None,
        worst_slab_coverage=None,
        by_size=_by_size(sets, labels),
        by_class=_by_class(sets, labels, items.called),
        criteria=None,
    )


def evaluate_intervals(
    entry: CalibrationEntry, calibration: RegressionCalibration, points: Points, options: EvaluationOptions
) -> Evaluation:
    """Evaluate the intervals of points with targets; arguments as of `evaluate_sets`.

    Raises:
        UnprocessableContent: options that only sets of classes have.
    """
    refuse_options_of_sets(options, ("force_top1", "seed", "first_item"))
    alpha = options.alpha or entry.options.alpha[0]
    targets = points.targets if points.targets is not None else np.empty(0)
    intervals = predict_intervals(calibration, points, [alpha])[0]
    covered = intervals.contain(targets)
    lengths = intervals.lengths
    winkler = None if intervals.empty.any() else winkler_scores(intervals.lower, intervals.upper, targets, alpha)
    measured = RegressionMetrics(
        average_length=finite_or_none(float(lengths.mean())),
        median_length=finite_or_none(float(np.median(lengths))),
        unbounded=int(intervals.unbounded.sum()),
        empty=int(intervals.empty.sum()),
        mean_winkler_score=None if winkler is None else finite_or_none(float(winkler.mean())),
        by_length=_by_length(intervals, covered),
    )
    tail = calibration.tails[0]
    plain = len(tail.cells) == 1 and not tail.weighted and not calibration.asymmetric
    answer = EvaluationAnswer(
        calibration=entry.answer.id,
        version=entry.answer.version,
        model=entry.answer.model,
        alpha=alpha,
        coverage=_coverage(covered, tail.cells[0].scores if plain else None, alpha),
        regression=measured,
        warnings=[
            *crossed_warnings(points.band),
            *warn_of_unknown_groups(calibration, points.groups),
            *entry.answer.warnings,
        ],
    )
    return Evaluation(answer, lengths, None)


def _marginal_scores(calibration: AnyCalibration) -> NDArray[np.float64] | None:
    """The sorted scores (n,) where all items share a threshold, so that the law of hits holds; otherwise None."""
    if isinstance(calibration, Calibration) and calibration.taxonomy.cells == 1:
        return calibration.cells.scores
    return None


def _coverage(
    covered: NDArray[np.bool_], scores: NDArray[np.float64] | None, alpha: float, *, filled: bool = False
) -> Coverage:
    """Count the covered items and compare with the law of hits, one-sided where coverage can only be higher."""
    hits, items = int(covered.sum()), len(covered)
    count = None if scores is None else len(scores)
    above = scores is not None and (filled or find_ties(scores, alpha).near)
    return Coverage(
        covered=hits,
        items=items,
        coverage=hits / items,
        interval=binomial_interval(hits, items),
        expected_hits=None if count is None else hits_interval(count, alpha, items, tied=above),
        p_value=None if count is None else hits_p_value(hits, count, alpha, items, tied=above),
        one_sided=above,
    )


def _stratum(name: str, covered: NDArray[np.bool_], sizes: NDArray[np.float64]) -> StratumCoverage:
    items = len(covered)
    if not items:
        return StratumCoverage(name=name, items=0, coverage=None, interval=None, mean_size=None)
    hits = int(covered.sum())
    return StratumCoverage(
        name=name,
        items=items,
        coverage=hits / items,
        interval=binomial_interval(hits, items),
        mean_size=finite_or_none(float(sizes.mean())),
    )


def _by_size(sets: NDArray[np.bool_], labels: NDArray[np.int64]) -> list[StratumCoverage]:
    covered, sizes = set_metrics.hits(sets, labels), sets.sum(axis=1)
    measured = []
    for first, last in set_metrics.SIZE_STRATA:
        inside = (sizes >= first) & (sizes <= (math.inf if last is None else last))
        name = f"size {first} or more" if last is None else f"size {first} to {last}"
        measured.append(_stratum(name, covered[inside], sizes[inside].astype(np.float64)))
    return measured


def _by_class(sets: NDArray[np.bool_], labels: NDArray[np.int64], called: ClassLabels | None) -> list[StratumCoverage]:
    covered, sizes = set_metrics.hits(sets, labels), sets.sum(axis=1).astype(np.float64)
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(sets.shape[1] + 1))
    parts = [order[ends[label] : ends[label + 1]] for label in range(sets.shape[1])]
    return [_stratum(name_class(called, label), covered[part], sizes[part]) for label, part in enumerate(parts)]


def _by_length(intervals: Intervals, covered: NDArray[np.bool_]) -> list[StratumCoverage]:
    order = np.argsort(intervals.lengths, kind="stable")
    parts = np.array_split(order, min(TENTHS, len(order)))
    return [_stratum(f"tenth {index + 1}", covered[part], intervals.lengths[part]) for index, part in enumerate(parts)]


def _slab(features: NDArray[np.float64] | None, covered: NDArray[np.bool_], seed: int) -> float | None:
    if features is None or len(covered) < SLAB_ITEMS:
        return None
    return worst_slab_coverage(features, covered, seed=seed % 2**63)


def _criteria(
    calibration: ClassifierCalibration,
    items: Items,
    prediction: PredictionOptions,
    draws: ItemDraws | None,
    alpha: float,
) -> dict[str, float] | None:
    numbers = len(items.inputs) * calibration.score.classes_of(items.inputs)
    if isinstance(calibration, RankCalibration) or numbers > CRITERIA_LIMIT:
        return None
    labels = items.labels if items.labels is not None else np.empty(0, np.int64)
    return asdict(criteria(compute_p_values(calibration, items, prediction, draws), labels, alpha))
