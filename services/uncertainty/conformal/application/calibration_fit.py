"""The fit of a classifier's calibration: which arrays it reads, and what it says of the result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application import guarantees
from services.uncertainty.conformal.application.calibration_summaries import (
    summarize_cells,
    summarize_levels,
    warn_of_small_cells,
    warn_of_ties,
    warn_of_weights,
)
from services.uncertainty.conformal.application.calibration_warnings import (
    warn_of_clusters,
    warn_of_few_neighbours,
    warn_of_probabilities,
    warn_of_repetitions,
)
from services.uncertainty.conformal.application.class_labels import read_class_names
from services.uncertainty.conformal.application.classification_items import ARRAYS, Items, name_arrays, read_items
from services.uncertainty.conformal.application.costs import (
    SIZING_S,
    refuse_costly_scores,
    refuse_thresholds,
    seconds_of_scores,
)
from services.uncertainty.conformal.application.fitted_calibration import (
    SIZED_ITEMS,
    FittedCalibration,
    digest_of_arrays,
)
from services.uncertainty.conformal.application.item_draws import seed_of_digest
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.score_options import make_score, read_training
from services.uncertainty.conformal.methods.classification.calibration import (
    Calibration,
    calibrate,
    make_class_taxonomy,
    make_group_taxonomy,
)
from services.uncertainty.conformal.methods.classification.clustering import ClusterPlan, calibrate_clustered
from services.uncertainty.conformal.methods.classification.rank_calibration import RankCalibration, calibrate_ranks
from services.uncertainty.conformal.methods.classification.weighted_calibration import (
    WeightedCalibration,
    calibrate_weighted,
)
from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.methods.scores import KNN, Score, Values
from services.uncertainty.conformal.methods.ties import count_tied
from services.uncertainty.conformal.schemas.calibrations import (
    ClassificationOptions,
    Method,
    ScoreName,
)
from services.uncertainty.conformal.storage.serialization import ClassifierCalibration
from shared.problems import field_problem


def fit_classification(source: NamedArrays, options: ClassificationOptions) -> FittedCalibration:
    """Read the arrays and calibrate on them.

    Raises:
        UnprocessableContent: arrays are missing, superfluous or wrong; the pointers say where.
    """
    source.refuse_others(ARRAYS)
    if options.score is not ScoreName.KNN:
        return fit_items(read_items(source, None, classes=None, labelled=True), options)
    knn, called = read_training(source)
    names = read_class_names(source, classes=knn[2])
    if names is not None and called is not None:
        raise field_problem("/body/class_names", "The classes are called by their training labels. Leave it out.")
    items = read_items(source, "features", classes=knn[2], labelled=True, called=called)
    fitted = fit_items(replace(items, called=names or called), options, knn)
    return replace(fitted, warnings=[*fitted.warnings, *warn_of_few_neighbours(knn[1], options, names or called)])


def fit_items(
    items: Items, options: ClassificationOptions, knn: tuple[Values, NDArray[np.int64], int] | None = None
) -> FittedCalibration:
    """Calibrate on checked items with labels.

    Args:
        items: with labels.
        options: how to calibrate.
        knn: training features (T, F), their labels (T,) and the number of classes, for the score knn.

    Raises:
        UnprocessableContent: items that do not fit the method.
    """
    _check_method(items, options)
    score = make_score(options, items.name, knn)
    count = len(items.inputs)
    _refuse_costly(score, items, options)
    digest = digest_of_arrays(name_arrays(items) | _training_arrays(score))
    seed = seed_of_digest(digest) if options.seed is None else options.seed
    options = options.model_copy(update={"seed": seed})
    draws = uniforms(seed, np.arange(count), Purpose.CALIBRATION) if score.is_randomised else None
    try:
        calibration = _calibrate(score, items, options, draws)
        cells = summarize_cells(calibration, options, items.called)
        sizes = _sizes(calibration, items, options, draws)
    except ValueError as error:
        raise field_problem(f"/body/{items.name}", f"{error}.") from None
    return FittedCalibration(
        calibration=calibration,
        inputs=items.name,
        count=count,
        classes=score.classes_of(items.inputs),
        cells=cells,
        levels=summarize_levels(options.alpha, cells, sizes),
        data_digest=digest,
        guarantee=guarantees.describe_classification(
            options.method, exact=_is_exact(score), tied=count_tied_scores(calibration), count=count
        ),
        warnings=[
            *warn_of_small_cells(cells),
            *warn_of_ties(cells),
            *warn_of_weights(cells),
            *warn_of_clusters(calibration, options),
            *warn_of_repetitions(score, items),
            *warn_of_probabilities(items),
        ],
        seed=seed,
        class_labels=items.called,
    )


def _refuse_costly(score: Score, items: Items, options: ClassificationOptions) -> None:
    """Refuse a calibration that would cost too much for what was posted.

    Raises:
        UnprocessableContent: names the estimate.
    """
    classes, count = score.classes_of(items.inputs), len(items.inputs)
    cells, pointer = 1, "/body/alpha"
    if options.method is Method.GROUP and items.groups is not None:
        cells = len(np.unique(items.groups)) * (classes if options.with_labels else 1)
        pointer = "/body/with_labels" if options.with_labels else "/body/groups"
    elif options.method in {Method.CLASS, Method.RC3P}:
        cells = classes
    elif options.method is Method.CLUSTERED:
        cells = options.clusters or 1
    refuse_thresholds(pointer, cells, len(options.alpha))
    if isinstance(score, KNN):
        numbers = items.inputs.size + score.features.size
        refuse_costly_scores(
            score, classes, items=count, rounds=1, numbers=numbers, pointer="/body/neighbours", answered=False
        )


def _training_arrays(score: Score) -> dict[str, NDArray[Any]]:
    return {"training_features": score.features, "training_labels": score.labels} if isinstance(score, KNN) else {}


def _check_method(items: Items, options: ClassificationOptions) -> None:
    for name, method in (("groups", Method.GROUP), ("weights", Method.WEIGHTED)):
        present = getattr(items, name) is not None
        if present and options.method is not method:
            raise field_problem(f"/body/{name}", f"These are used by the method {method} only.")
        if not present and options.method is method:
            raise field_problem(f"/body/{name}", f"The method {method} needs them.")


def _calibrate(
    score: Score, items: Items, options: ClassificationOptions, draws: Values | None
) -> ClassifierCalibration:
    labels = items.labels if items.labels is not None else np.empty(0, np.int64)
    classes = score.classes_of(items.inputs)
    match options.method:
        case Method.CLUSTERED:
            plan = None
            if options.clusters is not None and options.cluster_share is not None:
                plan = ClusterPlan(clusters=options.clusters, share=options.cluster_share)
            level = options.alpha[0]
            return calibrate_clustered(
                score, items.inputs, labels, level, seed=options.seed or 0, numbers=draws, plan=plan
            )
        case Method.WEIGHTED if items.weights is not None:
            return calibrate_weighted(score, items.inputs, labels, items.weights, uniforms=draws)
        case Method.RC3P:
            return calibrate_ranks(score, items.inputs, labels, uniforms=draws)
        case Method.CLASS:
            return calibrate(score, items.inputs, labels, uniforms=draws, taxonomy=make_class_taxonomy(classes))
        case Method.GROUP if items.groups is not None:
            taxonomy = make_group_taxonomy(items.groups, classes, with_labels=options.with_labels)
            return calibrate(score, items.inputs, labels, uniforms=draws, taxonomy=taxonomy, groups=items.groups)
        case _:
            return calibrate(score, items.inputs, labels, uniforms=draws)


def _sizes(
    calibration: ClassifierCalibration, items: Items, options: ClassificationOptions, draws: Values | None
) -> list[float | None]:
    """Mean set size at each level on evenly spaced calibration items, as many as there is time for; None for none."""
    classes = calibration.score.classes_of(items.inputs)
    affordable = int(SIZING_S / (seconds_of_scores(calibration.score, classes) * len(options.alpha)))
    if not affordable:
        return [None] * len(options.alpha)
    most = min(SIZED_ITEMS, len(items.inputs), affordable)
    chosen = np.unique(np.linspace(0, len(items.inputs) - 1, most).astype(np.int64))
    few = Items(
        name=items.name,
        inputs=items.inputs[chosen],
        groups=None if items.groups is None else items.groups[chosen],
        weights=None if items.weights is None else items.weights[chosen],
    )
    numbers = None if draws is None else draws[chosen]
    return [float(compute_sets(calibration, few, alpha, numbers).sum(axis=1).mean()) for alpha in options.alpha]


def compute_sets(
    calibration: ClassifierCalibration, items: Items, alpha: float, draws: Values | None
) -> NDArray[np.bool_]:
    """Compute the sets of items at a level, bool (N, K).

    Raises:
        UnprocessableContent: groups or weights are missing, or are not used.
    """
    require_side_arrays(calibration, items)
    if isinstance(calibration, Calibration):
        return calibration.sets(items.inputs, alpha, uniforms=draws, groups=items.groups)
    if isinstance(calibration, WeightedCalibration) and items.weights is not None:
        return calibration.sets(items.inputs, alpha, weights=items.weights, uniforms=draws)
    return calibration.sets(items.inputs, alpha, uniforms=draws)  # type: ignore[call-arg]


def require_side_arrays(calibration: ClassifierCalibration, items: Items) -> None:
    """Refuse groups or weights that are missing or superfluous."""
    grouped = isinstance(calibration, Calibration) and calibration.taxonomy.name == "group"
    for name, used in (("groups", grouped), ("weights", isinstance(calibration, WeightedCalibration))):
        if used != (getattr(items, name) is not None):
            detail = "This calibration needs them for each item." if used else "This calibration uses none."
            raise field_problem(f"/body/{name}", detail)


def count_tied_scores(calibration: ClassifierCalibration | RegressionCalibration) -> int:
    """Count the calibration scores that equal another one of their cell."""
    if isinstance(calibration, RegressionCalibration):
        return sum(count_tied(cell.scores) for tail in calibration.tails for cell in tail.cells)
    if isinstance(calibration, WeightedCalibration):
        return count_tied(calibration.scores.scores)
    cells = calibration.scores if isinstance(calibration, RankCalibration) else calibration.cells
    return sum(count_tied(cells.cell(index)) for index in range(len(cells)))


def _is_exact(score: Score) -> bool:
    """Whether ties of the score have probability zero for continuous inputs; not if it counts ranks alone."""
    return score.is_randomised or score.name in {"thr", "margin", "knn"}
