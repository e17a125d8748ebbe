"""The fit of a classifier's calibration: which arrays it reads, and what it says of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

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
from services.uncertainty.conformal.application.class_labels import (
    ClassLabels,
    convert_whole_numbers,
    read_class_names,
    read_labels,
)
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
from services.uncertainty.conformal.application.item_draws import count_repeated_rows, seed_of_digest
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.score_options import make_score, read_training
from services.uncertainty.conformal.application.validation import (
    SUM_TOLERANCE,
    check_count,
    check_scores,
    check_weights,
)
from services.uncertainty.conformal.methods.calibration import (
    Calibration,
    calibrate,
    make_class_taxonomy,
    make_group_taxonomy,
)
from services.uncertainty.conformal.methods.clustering import ClusterPlan, calibrate_clustered
from services.uncertainty.conformal.methods.levels import needed_count
from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
from services.uncertainty.conformal.methods.rank_calibration import RankCalibration, calibrate_ranks
from services.uncertainty.conformal.methods.regression import RegressionCalibration
from services.uncertainty.conformal.methods.scores import KNN, Inputs, Score, Values
from services.uncertainty.conformal.methods.taxonomies import Groups
from services.uncertainty.conformal.methods.ties import count_tied
from services.uncertainty.conformal.methods.weighted_calibration import WeightedCalibration, calibrate_weighted
from services.uncertainty.conformal.schemas.calibrations import (
    ClassificationOptions,
    Method,
    ScoreName,
)
from services.uncertainty.conformal.storage.serialization import ClassifierCalibration
from shared.problems import field_problem

ARRAYS: Final[Mapping[str, str]] = {
    "logits": "Logits (N, K), of which the softmax is taken; post probabilities under their own name",
    "probabilities": "Probabilities (N, K), rows adding up to 1",
    "labels": "True classes (N,): 0 to K - 1, or names of class_names; of knn those that training has",
    "class_names": "Names of the classes (K,) in the order of the columns; sets then hold names too",
    "groups": "A group of each item (N,), whole numbers or texts: the guarantee holds in each; of classes with the "
    "method group",
    "weights": "method weighted: a weight of each item (N,), 0 or more: under covariate shift",
    "features": "score knn: features (N, F), in place of logits",
    "training_features": "score knn: features (T, F) of training items that do not calibrate",
    "training_labels": "score knn: their classes (T,), whole numbers or names",
}

_UNCLUSTERED: Final = (
    "No classes were clustered; this is plain split conformal prediction. By the authors' rule there were too few "
    "examples of each class, too few classes, or so many examples that clusters bring nothing: with {needed} or more "
    "examples of each class take method=class, otherwise give clusters and cluster_share."
)


_REPEATED_SHARE: Final = 20
"""A warning is written where one row in so many is equal to another."""


@dataclass(frozen=True, kw_only=True)
class Items:
    """Checked arrays of a classifier's items.

    Attributes:
        name: which inputs: logits, probabilities or features.
        inputs: (N, K) or (N, F).
        labels: (N,), None where they are not known.
        groups: (N,), None where there are none.
        weights: (N,), None where there are none.
        contents: what the items are where the inputs are a model's answers: N encoded images.
        called: what the classes are called, None for 0 to K - 1.
    """

    name: str
    inputs: Inputs
    labels: NDArray[np.int64] | None = None
    groups: Groups | None = None
    weights: Values | None = None
    contents: Sequence[bytes] | None = None
    called: ClassLabels | None = None


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
    return replace(fitted, warnings=[*fitted.warnings, *_neighbour_warnings(knn[1], options, names or called)])


def _neighbour_warnings(
    labels: NDArray[np.int64], options: ClassificationOptions, called: ClassLabels | None
) -> list[str]:
    """Warn of classes with fewer training items than neighbours: they are never in a set."""
    few = np.flatnonzero(np.bincount(labels) < options.neighbours)
    if not len(few):
        return []
    shown = ", ".join(str(index if called is None else called[index]) for index in few[:5].tolist())
    warning = (
        f"{len(few)} classes have fewer than {options.neighbours} training items, so that their scores are infinite "
        f"and they are in a set only where everything is: {shown}{', ...' if len(few) > 5 else ''}."
    )
    return [warning]


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
            *_cluster_warnings(calibration, options),
            *_repetition_warnings(score, items),
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


def read_items(
    source: NamedArrays, name: str | None, *, classes: int | None, labelled: bool, called: ClassLabels | None = None
) -> Items:
    """Read and check the arrays of a classifier's items.

    Args:
        source: of the arrays.
        name: which inputs have to be there; logits or probabilities, whichever is, where None.
        classes: K, the width of the inputs where None.
        labelled: labels have to be there.
        called: what the classes are called, by which labels are looked up; the posted class_names where None.
    """
    name = name or _choose_inputs(source)
    array = source.require_numbers(name, dimensions=2)
    pointer = f"/body/{name}"
    if name == "features":
        inputs = check_scores(np.atleast_2d(array), pointer, probabilities=False) if array.shape[1] > 1 else array
    else:
        inputs = check_scores(array, pointer, probabilities=name == "probabilities")
    count, width = len(inputs), classes or inputs.shape[1]
    if called is None:
        called = read_class_names(source, classes=width)
    wanted = labelled or source.has("labels")
    labels = read_labels(source, count=count, classes=width, called=called) if wanted else None
    weights = source.read_numbers("weights", count=count)
    return Items(
        name=name,
        inputs=inputs.astype(np.float64) if inputs.dtype.kind != "f" else inputs,
        labels=labels,
        groups=_read_groups(source, count),
        weights=None if weights is None else check_weights(weights, "/body/weights", count=count),
        called=called,
    )


def _read_groups(source: NamedArrays, count: int) -> Groups | None:
    """Read a group of each item, (count,): numbers where all are whole, otherwise texts; None if there are none."""
    texts = source.read_texts("groups", count=count)
    if texts is None:
        return None
    check_count(np.empty(len(texts)), "/body/groups", count)
    if "" in texts:
        raise field_problem("/body/groups", "A group's label must not be empty.")
    numbers = convert_whole_numbers(texts)
    return np.array(texts, np.str_) if numbers is None else numbers


def name_arrays(items: Items) -> dict[str, NDArray[Any]]:
    """List the arrays of items by name."""
    arrays = {items.name: items.inputs, "labels": items.labels, "groups": items.groups, "weights": items.weights}
    return {name: array for name, array in arrays.items() if array is not None}


def _choose_inputs(source: NamedArrays) -> str:
    present = [name for name in ("logits", "probabilities") if source.has(name)]
    if len(present) != 1:
        raise field_problem("/body/logits", "Logits or probabilities are needed, one of the two.")
    return present[0]


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


def _cluster_warnings(calibration: ClassifierCalibration, options: ClassificationOptions) -> list[str]:
    if options.method is not Method.CLUSTERED or not isinstance(calibration, Calibration):
        return []
    if calibration.taxonomy.cells > 1:
        return []
    return [_UNCLUSTERED.format(needed=needed_count(options.alpha[0]))]


def _repetition_warnings(score: Score, items: Items) -> list[str]:
    """Warn where equal items would share a draw: the coverage of one calibration then strays from its band."""
    if not score.is_randomised or items.contents is not None:
        return []
    repeated = count_repeated_rows(items.inputs)
    if repeated * _REPEATED_SHARE < len(items.inputs):
        return []
    warning = (
        f"{repeated} of {len(items.inputs)} rows are equal to another one. Equal rows share their draw when they are "
        "predicted, unless `first_item` numbers the items: number them, so that coverage lies in the band."
    )
    return [warning]


def warn_of_probabilities(items: Items) -> list[str]:
    """Warn of logits that look like probabilities: each row in [0, 1] and adding up to 1."""
    rows = items.inputs
    if items.name != "logits" or not len(rows):
        return []
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SIZED_ITEMS)).astype(np.int64))]
    sums = sample.sum(axis=1, dtype=np.float64)
    if (sample < 0).any() or (sample > 1).any() or (np.abs(sums - 1) > SUM_TOLERANCE).any():
        return []
    warning = (
        "The logits look like probabilities: all lie in [0, 1] and each row adds up to 1. Their softmax has been "
        "taken, which flattens them. Post probabilities under the name probabilities."
    )
    return [warning]
