"""Venn-Abers predictors for more than two classes, from binary ones.

One against one (Manokhin 2017): each pair of classes is calibrated on the points of the two, and the pairwise
probabilities are put together by Price et al. 1995 (equation 9): p_i = 1 / (sum over j of 1 / r_ij - (K - 2)).
One against all: each class against the rest. Both are scaled to add up to 1; only binary pairs carry the guarantee.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np

from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.venn_abers.binary import VennAbers, single_probability, venn_abers


class Decomposition(StrEnum):
    """Which binary questions stand for the classes."""

    ONE_AGAINST_ONE = "one-against-one"
    ONE_AGAINST_ALL = "one-against-all"


@dataclass(frozen=True)
class ClassVennAbers:
    """Binary predictors by question.

    Attributes:
        classes: number K.
        questions: the pairs (i, j) of which i is asked for, or (i, i) for i against all.
        predictors: one for each question.
    """

    classes: int
    questions: tuple[tuple[int, int], ...]
    predictors: tuple[VennAbers, ...]

    def probabilities(self, probabilities: object) -> FloatArray:
        """Calibrated probabilities, (m, K), rows adding up to 1.

        Args:
            probabilities: (m, K), of test points, as at calibration.
        """
        rows = _rows(probabilities, self.classes)
        answers = {
            question: single_probability(predictor.probabilities(_question_scores(rows, question)))
            for question, predictor in zip(self.questions, self.predictors, strict=True)
        }
        if (0, 0) in answers:
            joined = np.column_stack([answers[label, label] for label in range(self.classes)])
        else:
            joined = self._coupled(answers)
        return np.asarray(joined / joined.sum(axis=1, keepdims=True), dtype=np.float64)

    def _coupled(self, answers: dict[tuple[int, int], FloatArray]) -> FloatArray:
        columns = []
        for label in range(self.classes):
            wins = [share if one == label else 1 - share for (one, other), share in answers.items()
                    if label in {one, other}]  # fmt: skip
            with np.errstate(divide="ignore"):
                columns.append(1 / (sum(1 / win for win in wins) - (self.classes - 2)))
        return np.column_stack(columns)


def class_venn_abers(
    probabilities: object, labels: object, *, decomposition: Decomposition = Decomposition.ONE_AGAINST_ONE
) -> ClassVennAbers:
    """Calibrate on n points that the model has not seen.

    Args:
        probabilities: (n, K), K >= 2, not negative.
        labels: (n,), classes from 0 to K - 1.
        decomposition: which binary questions.

    Raises:
        ValueError: an argument is not as said above.
    """
    rows = _rows(probabilities, None)
    marks = require_finite(labels, "labels", shape=(len(rows),))
    classes = rows.shape[1]
    if classes < 2 or not np.isin(marks, np.arange(classes)).all():
        raise ValueError("there must be two classes or more, and labels must be classes")
    if decomposition is Decomposition.ONE_AGAINST_ALL:
        questions = [(label, label) for label in range(classes)]
    else:
        questions = list(combinations(range(classes), 2))
    predictors = []
    for question in questions:
        check_interruption()
        chosen = np.isin(marks, question) if question[0] != question[1] else np.ones(len(marks), dtype=np.bool_)
        predictors.append(venn_abers(_question_scores(rows[chosen], question), marks[chosen] == question[0]))
    return ClassVennAbers(classes, tuple(questions), tuple(predictors))


def _question_scores(rows: FloatArray, question: tuple[int, int]) -> FloatArray:
    """Probability of the first class among those of the question, (n,); a half where both are 0."""
    one, other = question
    if one == other:
        return rows[:, one]
    total = rows[:, one] + rows[:, other]
    shares: FloatArray = np.divide(rows[:, one], total, out=np.full(len(rows), 0.5), where=total > 0)
    return shares


def _rows(probabilities: object, classes: int | None) -> FloatArray:
    rows = require_finite(probabilities, "probabilities", shape=(None, classes))
    if (rows < 0).any():
        raise ValueError("probabilities must not be negative")
    return rows
