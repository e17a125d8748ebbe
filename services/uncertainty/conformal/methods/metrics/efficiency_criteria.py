"""Criteria of efficiency of p-values (Vovk et al. 2016): smaller is better for those of all labels and of false ones.

S, N, U, F, M look at the p-values alone; the observed ones need the labels. Ties of the largest p-value count once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.uncertainty.conformal.methods.levels import Level, to_level
from services.uncertainty.conformal.methods.scores import Labels, Values


@dataclass(frozen=True, slots=True)
class Criteria:
    """Means over the items.

    Attributes:
        S: sum of the p-values.
        N: labels with a p-value above alpha, the set size.
        U: unconfidence, the second largest p-value.
        F: fuzziness, the sum of all but the largest p-value.
        M: share of sets of more than one label.
        observed_unconfidence: the largest p-value of a false label.
        observed_fuzziness: the sum of the p-values of false labels.
        observed_multiple: share of sets that hold a false label.
        observed_excess: false labels in the set.
    """

    S: float
    N: float
    U: float
    F: float
    M: float
    observed_unconfidence: float
    observed_fuzziness: float
    observed_multiple: float
    observed_excess: float


def criteria(p_values: Values, labels: Labels, alpha: Level) -> Criteria:
    """All criteria of p-values (N, K) with labels (N,).

    Raises:
        ValueError: shapes that do not fit, or no items.
    """
    if p_values.ndim != 2 or labels.shape != p_values.shape[:1] or not len(p_values):
        raise ValueError(f"p-values {p_values.shape} and labels {labels.shape} do not fit")
    best_two = np.partition(p_values, -2, axis=1)[:, -2:]
    above = p_values > float(to_level(alpha))
    rows = np.arange(len(labels))
    false = p_values.copy()
    false[rows, labels] = 0
    false_above = above.copy()
    false_above[rows, labels] = False
    return Criteria(
        S=float(p_values.sum(axis=1).mean()),
        N=float(above.sum(axis=1).mean()),
        U=float(best_two[:, 0].mean()),
        F=float((p_values.sum(axis=1) - best_two[:, 1]).mean()),
        M=float((above.sum(axis=1) > 1).mean()),
        observed_unconfidence=float(false.max(axis=1).mean()),
        observed_fuzziness=float(false.sum(axis=1).mean()),
        observed_multiple=float(false_above.any(axis=1).mean()),
        observed_excess=float(false_above.sum(axis=1).mean()),
    )
