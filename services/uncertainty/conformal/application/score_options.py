"""Nonconformity scores from options, and the training features that the score knn needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.class_labels import ClassLabels, call_classes
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import check_count, check_scores
from services.uncertainty.conformal.methods.scores import KNN, SCORES, Entmax, Score, Transform, Values
from services.uncertainty.conformal.schemas.calibrations import ClassificationOptions, ScoreName
from shared.problems import field_problem


def make_score(options: ClassificationOptions, inputs: str, knn: tuple[Values, NDArray[np.int64], int] | None) -> Score:
    """Make the score that the options name.

    Args:
        options: of the calibration.
        inputs: logits, probabilities or features.
        knn: training features (T, F), their labels (T,) and the number of classes, for the score knn.
    """
    if knn is not None:
        features, labels, classes = knn
        return KNN(features=features, labels=labels, classes=classes, neighbours=options.neighbours)
    if options.score is ScoreName.ENTMAX:
        if inputs != "logits":
            raise field_problem("/body/score", "entmax is a score of logits; post them.")
        return Entmax(gamma=options.gamma)
    plain = Transform.SOFTMAX if inputs == "logits" else Transform.IDENTITY
    if options.score in {ScoreName.THR, ScoreName.MARGIN}:
        logarithmic = Transform.LOG_SOFTMAX if inputs == "logits" else Transform.LOG
        return SCORES[options.score](**_parameters(transform=logarithmic if options.log else plain))
    parameters: dict[str, Any] = {"transform": plain, "randomised": options.randomised}
    if options.score is ScoreName.RAPS:
        parameters |= {"penalty": options.penalty, "free_ranks": options.free_ranks}
    if options.score is ScoreName.SAPS:
        parameters |= {"weight": options.weight}
    return SCORES[options.score](**parameters)


def read_training(source: NamedArrays) -> tuple[tuple[Values, NDArray[np.int64], int], ClassLabels | None]:
    """Read training features (T, F), places of their labels (T,) and the number of classes, for the score knn.

    Labels are names, not sizes: there are as many classes as different labels. They come back beside, None if they are
    0 to K - 1.

    Raises:
        UnprocessableContent: they are missing or do not fit.
    """
    features = source.require_numbers("training_features", dimensions=2).astype(np.float64)
    checked = check_scores(features, "/body/training_features", probabilities=False)
    labels = source.read_texts("training_labels") or []
    if not labels:
        source.require_numbers("training_labels")
    check_count(np.empty(len(labels)), "/body/training_labels", len(features))
    called, places = call_classes(labels)
    classes = int(places.max()) + 1
    if classes < 2:
        raise field_problem("/body/training_labels", "There is one class; two or more are needed.")
    return (checked.astype(np.float64), places, classes), called


def _parameters(**values: Any) -> dict[str, Any]:
    return values
