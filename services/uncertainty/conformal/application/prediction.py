"""Predictions: sets, p-values and intervals of new items, and the answers that hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from services.uncertainty.conformal.application.calibration_fit import compute_sets, require_side_arrays
from services.uncertainty.conformal.application.classification_items import Items, read_items
from services.uncertainty.conformal.application.costs import refuse_costly, refuse_costly_scores
from services.uncertainty.conformal.application.item_draws import ItemDraws, draw_by_content, draw_by_number
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.regression_fit import Points, read_points
from services.uncertainty.conformal.methods.classification.calibration import Calibration, add_best_label
from services.uncertainty.conformal.methods.classification.rank_calibration import RankCalibration
from services.uncertainty.conformal.methods.classification.taxonomies import ByGroup
from services.uncertainty.conformal.methods.classification.weighted_calibration import WeightedCalibration
from services.uncertainty.conformal.methods.regression.split_regression import Intervals, RegressionCalibration
from services.uncertainty.conformal.methods.scores import Values
from services.uncertainty.conformal.schemas.calibrations import RegressionOptions
from services.uncertainty.conformal.schemas.predictions import PredictionOptions
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from services.uncertainty.conformal.storage.serialization import ClassifierCalibration
from shared.problems import Conflict, field_problem


@dataclass(frozen=True)
class Sets:
    """Prediction sets of a classifier's items.

    Attributes:
        alphas: levels.
        sets: bool (N, K) for each level.
        p_values: (N, K), None unless asked for.
        draws: where the random numbers of the items came from.
        warnings: sentences for whoever uses them.
    """

    alphas: Sequence[float]
    sets: list[NDArray[np.bool_]]
    p_values: Values | None
    draws: Literal["none", "by-item", "by-number"] = "none"
    warnings: Sequence[str] = ()


def read_prediction_items(source: NamedArrays, entry: CalibrationEntry, *, labelled: bool = False) -> Items:
    """Read the items that a classifier's calibration can predict: the same inputs and number of classes.

    Raises:
        Conflict: another number of classes.
        UnprocessableContent: arrays are missing or wrong.
    """
    answer = entry.answer
    source.refuse_others((answer.inputs, *(["labels"] if labelled else []), "groups", "weights"))
    called = answer.class_labels
    items = read_items(source, answer.inputs, classes=answer.classes, labelled=labelled, called=called)
    if answer.inputs != "features":
        require_classes(entry, items.inputs.shape[1])
    return items


def require_classes(entry: CalibrationEntry, classes: int) -> None:
    """Refuse another number of classes.

    Raises:
        Conflict: says both.
    """
    if classes != entry.answer.classes:
        raise Conflict(
            f"The calibration is of {entry.answer.classes} classes, and these are values of {classes}. "
            "Predict with the model that was calibrated, or calibrate this one."
        )


def draw_for_items(
    calibration: ClassifierCalibration,
    items: Items,
    options: PredictionOptions,
    *,
    version: str,
    by_repetition: bool = False,
) -> ItemDraws | None:
    """Draw the random numbers of items, None where nothing is randomised.

    Args:
        calibration: whose score may be randomised.
        items: whose draws are asked.
        options: seed and numbers, if given, and whether ties are broken by a draw.
        version: of the calibration.
        by_repetition: equal items of a batch get different draws, so that the law of the number of hits holds.
    """
    if not calibration.score.is_randomised and not options.smoothed:
        return None
    if options.first_item is not None:
        return draw_by_number(options.seed or 0, options.first_item, len(items.inputs))
    return draw_by_content(
        items.inputs, version=version, seed=options.seed, contents=items.contents, by_repetition=by_repetition
    )


def predict_sets(
    calibration: ClassifierCalibration,
    items: Items,
    options: PredictionOptions,
    alphas: Sequence[float],
    draws: ItemDraws | None,
) -> Sets:
    """Predict sets at each level, and p-values if the options ask for them.

    Args:
        calibration: to predict with.
        items: to predict.
        options: what is asked.
        alphas: levels.
        draws: of `draw_for_items`.

    Raises:
        UnprocessableContent: p-values of a method that has none, groups or weights that do not fit, or features of
            another length.
    """
    rounds = len(alphas) * (not options.smoothed) + options.p_values + options.smoothed + options.force_top1
    numbers = score_draws(calibration, draws)
    wanted = options.p_values or options.smoothed
    try:
        refuse_costly_sets(calibration, items, rounds)
        values = compute_p_values(calibration, items, options, draws) if wanted else None
        if values is not None and options.smoothed:
            sets = [values > alpha for alpha in alphas]
        else:
            sets = [compute_sets(calibration, items, alpha, numbers) for alpha in alphas]
        if options.force_top1:
            best = items.inputs if items.name != "features" else -calibration.score.of_all(items.inputs, numbers)
            sets = [add_best_label(one, best) for one in sets]
    except ValueError as error:
        raise field_problem(f"/body/{items.name}", f"{error}.") from None
    origin: Literal["by-item", "by-number"] = "by-item" if options.first_item is None else "by-number"
    return Sets(
        alphas,
        sets,
        values if options.p_values else None,
        "none" if draws is None else origin,
        warn_of_unknown_groups(calibration, items.groups),
    )


def refuse_costly_sets(calibration: ClassifierCalibration, items: Items, rounds: int) -> None:
    """Refuse sets of items that would cost too much for what was posted; the estimate counts rounds of all scores.

    Raises:
        UnprocessableContent: names the estimate.
    """
    score = calibration.score
    classes, count = score.classes_of(items.inputs), len(items.inputs)
    refuse_costly_scores(
        score, classes, items=count, rounds=rounds, numbers=items.inputs.size, pointer=f"/body/{items.name}"
    )


def score_draws(calibration: ClassifierCalibration, draws: ItemDraws | None) -> Values | None:
    """The numbers (N,) that a randomised score takes; None if the score takes none."""
    return draws.score if draws is not None and calibration.score.is_randomised else None


def compute_p_values(
    calibration: ClassifierCalibration, items: Items, options: PredictionOptions, draws: ItemDraws | None
) -> Values:
    """Compute the p-value of each class, (N, K), in (0, 1].

    Raises:
        UnprocessableContent: the method has none.
    """
    require_side_arrays(calibration, items)
    numbers = score_draws(calibration, draws)
    if isinstance(calibration, RankCalibration):
        name = "p_values" if options.p_values else "smoothed"
        raise field_problem(f"/body/{name}", "rc3p has no p-values: its sets need not grow as alpha falls.")
    if isinstance(calibration, WeightedCalibration):
        if options.smoothed:
            raise field_problem("/body/smoothed", "Weighted p-values cannot be smoothed. Leave it out.")
        weights = items.weights if items.weights is not None else np.ones(len(items.inputs))
        return calibration.p_values(items.inputs, weights=weights, uniforms=numbers)
    smoothing = draws.smoothing if draws is not None and options.smoothed else None
    return calibration.p_values(items.inputs, uniforms=numbers, groups=items.groups, smoothing=smoothing)


def predict_intervals(calibration: RegressionCalibration, points: Points, alphas: Sequence[float]) -> list[Intervals]:
    """Predict intervals at each level.

    Raises:
        UnprocessableContent: groups or weights are missing or superfluous, or there are too many levels and groups.
    """
    require_side_columns(calibration, points)
    groups = 1 if points.groups is None else len(np.unique(points.groups))
    work = len(alphas) * len(calibration.tails) * (groups * 1.5e-5 + points.count * 2e-7)
    what = f"Intervals at {len(alphas)} levels in {groups} groups"
    refuse_costly("/body/alpha", what, numbers=points.count * len(points.arrays), seconds=work)
    return [calibration.intervals(points.band, alpha, groups=points.groups, weights=points.weights) for alpha in alphas]


def require_side_columns(calibration: RegressionCalibration, points: Points) -> None:
    """Refuse groups or weights that are missing or superfluous."""
    tail = calibration.tails[0]
    for name, used in (("groups", tail.labels != ("",)), ("weights", tail.weighted)):
        if used != (getattr(points, name) is not None):
            detail = "This calibration needs them for each item." if used else "This calibration uses none."
            raise field_problem(f"/body/{name}", detail)


def refuse_options_of_sets(options: BaseModel, names: Collection[str]) -> None:
    """Refuse options that say something of sets of classes, where intervals are asked for.

    Raises:
        UnprocessableContent: one of these is not what it is by default.
    """
    for name in names:
        if getattr(options, name) != type(options).model_fields[name].default:
            raise field_problem(f"/body/{name}", "Intervals have no such thing: this is used for sets of classes only.")


def warn_of_unknown_groups(
    calibration: ClassifierCalibration | RegressionCalibration, groups: NDArray[Any] | None
) -> list[str]:
    """Write a warning where items are of groups without calibration items: nothing is known of them."""
    if groups is None:
        return []
    if isinstance(calibration, RegressionCalibration):
        known: Collection[object] = calibration.tails[0].labels
    elif isinstance(calibration, Calibration) and isinstance(calibration.taxonomy, ByGroup):
        known = calibration.taxonomy.known
    else:
        return []
    names = {str(one) for one in known}
    unknown = [(str(name), times) for name, times in Counter(groups.tolist()).items() if str(name) not in names]
    if not unknown:
        return []
    shown = ", ".join(name[:60] for name, _ in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    everything = "the whole line" if isinstance(calibration, RegressionCalibration) else "every class"
    warning = (
        f"{sum(times for _, times in unknown)} of {len(groups)} items are of groups without calibration items: "
        f"{shown}. They get {everything}."
    )
    return [warning]


def read_prediction_points(source: NamedArrays, entry: CalibrationEntry, *, labelled: bool = False) -> Points:
    """Read the points that a regression's calibration can predict; problems as of `read_points`."""
    options = entry.options
    if not isinstance(options, RegressionOptions):
        raise TypeError("a regression's calibration is expected")
    return read_points(source, options.score, labelled=labelled)
