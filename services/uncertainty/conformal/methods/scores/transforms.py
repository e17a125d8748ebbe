"""From logits to probabilities, in place and row by row; a row's result does not depend on its neighbours."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from services.uncertainty.conformal.methods.scores.base import Labels, Values


class Transform(StrEnum):
    """Transformation of the inputs before a score is computed."""

    SOFTMAX = "softmax"
    IDENTITY = "identity"
    LOG_SOFTMAX = "log_softmax"
    LOG = "log"


def transform_scores(values: Values, transform: Transform) -> Values:
    """All values of a block (rows, K), overwritten.

    Raises:
        ValueError: the logarithm of a negative number is asked for.
    """
    match transform:
        case Transform.SOFTMAX:
            values /= exponentials(values)
        case Transform.LOG_SOFTMAX:
            values -= values.max(axis=1, keepdims=True)
            values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
        case Transform.LOG:
            if (values < 0).any():
                raise ValueError("probabilities must not be negative")
            with np.errstate(divide="ignore"):
                np.log(values, out=values)
        case Transform.IDENTITY:
            pass
    return values


def transform_label_scores(values: Values, labels: Labels, transform: Transform) -> Values:
    """Transform one label of each row, (rows,); equal to the last bit to that column of `transform_scores`."""
    rows = np.arange(len(values))
    match transform:
        case Transform.SOFTMAX:
            sums = exponentials(values)
            shares: Values = values[rows, labels] / sums[:, 0]
            return shares
        case Transform.LOG_SOFTMAX:
            values -= values.max(axis=1, keepdims=True)
            own = values[rows, labels]
            logarithms: Values = own - np.log(np.exp(values, out=values).sum(axis=1))
            return logarithms
        case _:
            return transform_scores(values[rows, labels][:, None], transform)[:, 0]


def exponentials(values: Values) -> Values:
    """Overwrite a block with exp(value - largest of the row); their sums (rows, 1) are returned."""
    values -= values.max(axis=1, keepdims=True)
    np.exp(values, out=values)
    sums: Values = values.sum(axis=1, keepdims=True)
    return sums
