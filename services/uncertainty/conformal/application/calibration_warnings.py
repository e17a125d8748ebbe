"""What to know of a classifier's calibration before it is used, in sentences."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.class_labels import ClassLabels
from services.uncertainty.conformal.application.classification_items import Items
from services.uncertainty.conformal.application.fitted_calibration import SIZED_ITEMS
from services.uncertainty.conformal.application.item_draws import count_repeated_rows
from services.uncertainty.conformal.application.validation import SUM_TOLERANCE
from services.uncertainty.conformal.methods.classification.calibration import Calibration
from services.uncertainty.conformal.methods.levels import needed_count
from services.uncertainty.conformal.methods.scores import Score
from services.uncertainty.conformal.schemas.calibrations import (
    ClassificationOptions,
    Method,
)
from services.uncertainty.conformal.storage.serialization import ClassifierCalibration

_UNCLUSTERED: Final = (
    "No classes were clustered; this is plain split conformal prediction. By the authors' rule there were too few "
    "examples of each class, too few classes, or so many examples that clusters bring nothing: with {needed} or more "
    "examples of each class take method=class, otherwise give clusters and cluster_share."
)

_REPEATED_SHARE: Final = 20
"""A warning is written where one row in so many is equal to another."""


def warn_of_few_neighbours(
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


def warn_of_clusters(calibration: ClassifierCalibration, options: ClassificationOptions) -> list[str]:
    """Warn where clusters were asked for and none were found."""
    if options.method is not Method.CLUSTERED or not isinstance(calibration, Calibration):
        return []
    if calibration.taxonomy.cells > 1:
        return []
    return [_UNCLUSTERED.format(needed=needed_count(options.alpha[0]))]


def warn_of_repetitions(score: Score, items: Items) -> list[str]:
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
