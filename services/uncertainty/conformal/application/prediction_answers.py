"""Answers of predictions: sets and intervals as JSON, written without a model of each of perhaps a million of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from services.uncertainty.conformal.application.calibration_summaries import finite_or_none
from services.uncertainty.conformal.application.class_labels import ClassLabels, list_names
from services.uncertainty.conformal.application.prediction import Sets, warn_of_unknown_groups
from services.uncertainty.conformal.application.regression_fit import Points, crossed_warnings
from services.uncertainty.conformal.methods.group_scores import confidence, credibility
from services.uncertainty.conformal.methods.regression.split_regression import Intervals, RegressionCalibration
from services.uncertainty.conformal.schemas.predictions import PredictionAnswer, PredictionOptions
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from shared.problems import ContentTooLarge

ANSWERED_LIMIT = 5_000_000
"""Most numbers of a JSON answer, labels and p-values; a set or an interval counts as sixteen, a name as three."""
_SET = 16


def answer_sets(entry: CalibrationEntry, sets: Sets, options: PredictionOptions) -> bytes:
    """Write sets as an answer: the JSON of a `PredictionAnswer`, without a model of each of perhaps a million sets.

    Raises:
        ContentTooLarge: more numbers than JSON should hold.
    """
    count, classes = sets.sets[0].shape
    sizes = [one.sum(axis=1) for one in sets.sets]
    called = entry.answer.class_labels
    # A set takes as long to write as about sixteen of its numbers, a name as three.
    each = 4 if called is not None and isinstance(called[0], str) else 1
    length = _SET * count * len(sizes) + each * sum(int(size.sum()) for size in sizes)
    _refuse_long(length + (count * classes if sets.p_values is not None else 0))
    columns = [
        list(_list_sets(alpha, one, size, called))
        for alpha, one, size in zip(sets.alphas, sets.sets, sizes, strict=True)
    ]
    values = _list_p_values(sets, count)
    first = options.first_item or 0
    items = [
        {"item": first + index, "sets": list(one), **value}
        for index, (one, value) in enumerate(zip(zip(*columns, strict=True), values, strict=True))
    ]
    return _write(_answer(entry, options, warnings=sets.warnings, draws=sets.draws), items=items)


def _list_sets(
    alpha: float, sets: NDArray[np.bool_], sizes: NDArray[np.int64], called: ClassLabels | None
) -> Iterator[dict[str, object]]:
    """Sets of one level as the fields of `PredictedSet`."""
    chosen, start, classes = np.nonzero(sets)[1].tolist(), 0, sets.shape[1]
    numbers, names = list_names(called)
    for size in sizes.tolist():
        columns = chosen[start : start + size]
        start += size
        yield {
            "alpha": alpha,
            "labels": columns if numbers is None else [numbers[index] for index in columns],
            "names": None if names is None else [names[index] for index in columns],
            "size": size, "empty": not size, "full": size == classes,
        }  # fmt: skip


def _list_p_values(sets: Sets, count: int) -> Iterator[dict[str, object]]:
    if sets.p_values is None:
        for _ in range(count):
            yield {"p_values": None, "credibility": None, "confidence": None}
        return
    best, second = credibility(sets.p_values).tolist(), confidence(sets.p_values).tolist()
    for row, one, other in zip(sets.p_values, best, second, strict=True):
        yield {"p_values": row.tolist(), "credibility": one, "confidence": other}


def _write(answer: PredictionAnswer, **listed: list[dict[str, object]]) -> bytes:
    return orjson.dumps({**answer.model_dump(mode="json"), **listed})


def answer_intervals(
    entry: CalibrationEntry,
    calibration: RegressionCalibration,
    intervals: list[Intervals],
    points: Points,
    options: PredictionOptions,
    alphas: Sequence[float],
) -> bytes:
    """Write intervals as an answer; as `answer_sets`."""
    _refuse_long(_SET * points.count * len(alphas))
    columns = [list(_list_intervals(alpha, one)) for alpha, one in zip(alphas, intervals, strict=True)]
    first = options.first_item or 0
    listed = [{"item": first + index, "intervals": list(one)} for index, one in enumerate(zip(*columns, strict=True))]
    warnings = [*crossed_warnings(points.band), *warn_of_unknown_groups(calibration, points.groups)]
    return _write(_answer(entry, options, warnings=warnings), points=listed)


def _list_intervals(alpha: float, intervals: Intervals) -> Iterator[dict[str, object]]:
    """Intervals of one level as the fields of `PredictedInterval`."""
    for lower, upper in zip(intervals.lower.tolist(), intervals.upper.tolist(), strict=True):
        ends = {"lower": finite_or_none(lower), "upper": finite_or_none(upper)}
        yield {"alpha": alpha, **ends, "empty": lower > upper}


def _refuse_long(length: int) -> None:
    if length > ANSWERED_LIMIT:
        raise ContentTooLarge(
            f"The answer would have about {length} numbers, and JSON may have {ANSWERED_LIMIT}. Ask for "
            "application/x-npy, for fewer levels, or post fewer items."
        )


def _answer(
    entry: CalibrationEntry,
    options: PredictionOptions,
    *,
    warnings: Sequence[str] = (),
    draws: Literal["none", "by-item", "by-number"] = "none",
) -> PredictionAnswer:
    calibration = entry.answer
    return PredictionAnswer(
        calibration=calibration.id,
        version=calibration.version,
        model=calibration.model,
        seed=options.seed,
        first_item=options.first_item or 0,
        draws=draws,
        warnings=[*warnings, *calibration.warnings],
        guarantee=calibration.guarantee,
    )
