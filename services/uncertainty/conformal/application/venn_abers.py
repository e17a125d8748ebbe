"""Venn-Abers prediction on posted scores or probabilities; nothing of them is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.class_labels import read_class_names, read_labels
from services.uncertainty.conformal.application.costs import refuse_costly
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import (
    check_scores,
    check_test_count,
    check_values,
)
from services.uncertainty.conformal.methods.venn_abers.binary import single_probability, venn_abers
from services.uncertainty.conformal.methods.venn_abers.multiclass import Decomposition, class_venn_abers
from services.uncertainty.conformal.schemas.controls import ProbabilityPair, VennAbersAnswer, VennAbersOptions
from shared.problems import field_problem

VENN_ABERS_ARRAYS: Final[Mapping[str, str]] = {
    "scores": "Two classes: scores (n,), larger ones speak for the label 1",
    "probabilities": "More classes: probabilities (n, K)",
    "labels": "True classes (n,): 0 to K - 1, or names of class_names",
    "class_names": "Names of the classes (K,), of two classes those of the labels 0 and 1",
    "test_scores": "Scores of the test items (m,)",
    "test_probabilities": "Probabilities of the test items (m, K)",
}
_CLASSES: Final = 50
"""Most classes."""

_GUARANTEE: Final = (
    "If calibration and test items are exchangeable, one of the two probabilities is perfectly calibrated; which one, "
    "the label will say. Their distance tells how much is known."
)
_GUARANTEE_CLASSES: Final = (
    "Put together from binary predictors, whose pairs carry the guarantee; their combination is calibrated in practice."
)


def predict_venn_abers(source: NamedArrays, options: VennAbersOptions) -> VennAbersAnswer:
    """Calibrate the probabilities of test items by Venn-Abers prediction (Vovk and Petej 2014).

    Raises:
        UnprocessableContent: arrays are missing or wrong, or there are too many test items.
    """
    source.refuse_others(VENN_ABERS_ARRAYS)
    if source.has("probabilities"):
        return _predict_many_classes(source, options)
    scores = check_values(source.require_numbers("scores"), "/body/scores")
    names = read_class_names(source, classes=2)
    labels = read_labels(source, count=len(scores), classes=2, called=names)
    test_scores = check_values(source.require_numbers("test_scores"), "/body/test_scores")
    check_test_count(len(test_scores), "/body/test_scores")
    if options.decomposition is not VennAbersOptions().decomposition:
        raise field_problem("/body/decomposition", "Two classes are one question. Leave it out, or post probabilities.")
    work = _seconds(1, len(scores), len(test_scores))
    what = f"{len(test_scores)} test scores"
    refuse_costly("/body/test_scores", what, numbers=len(scores) + len(test_scores), seconds=work)
    pairs = venn_abers(scores, labels).probabilities(test_scores)
    single = single_probability(pairs)
    return VennAbersAnswer(
        n=len(scores),
        class_names=names,
        pairs=[
            ProbabilityPair(p0=float(low), p1=float(high), probability=float(one))
            for (low, high), one in zip(pairs, single, strict=True)
        ],
        guarantee=_GUARANTEE,
    )


def _predict_many_classes(source: NamedArrays, options: VennAbersOptions) -> VennAbersAnswer:
    rows = _read_probabilities(source, "probabilities")
    classes = rows.shape[1]
    if classes > _CLASSES:
        raise field_problem("/body/probabilities", f"There are {classes} classes; at most {_CLASSES} are accepted.")
    names = read_class_names(source, classes=classes)
    labels = read_labels(source, count=len(rows), classes=classes, called=names)
    test_rows = _read_probabilities(source, "test_probabilities")
    if test_rows.shape[1] != classes:
        raise field_problem("/body/test_probabilities", f"There are {test_rows.shape[1]} classes, not {classes}.")
    alone = options.decomposition is Decomposition.ONE_AGAINST_ALL
    questions = classes if alone else classes * (classes - 1) // 2
    check_test_count(len(test_rows) * questions, "/body/test_probabilities")
    asked = len(rows) * classes if alone else len(rows) * (classes - 1)  # each row is in so many questions
    work = _seconds(questions, asked, len(test_rows) * questions)
    what = f"{questions} binary questions to {len(rows)} and {len(test_rows)} items"
    refuse_costly("/body/probabilities", what, numbers=rows.size + test_rows.size, seconds=work)
    probabilities = class_venn_abers(rows, labels, decomposition=options.decomposition).probabilities(test_rows)
    return VennAbersAnswer(
        n=len(rows), class_names=names, probabilities=probabilities.tolist(), guarantee=_GUARANTEE_CLASSES
    )


def _seconds(questions: int, points: int, tests: int) -> float:
    """Seconds that binary questions take with so many calibration points and test items, all of them together."""
    return questions * 1e-3 + points * 3e-6 + tests * 6e-5


def _read_probabilities(source: NamedArrays, name: str) -> NDArray[np.float64]:
    pointer = f"/body/{name}"
    return check_scores(source.require_numbers(name, dimensions=2), pointer, probabilities=True).astype(np.float64)
