"""Scores of the label's own value, of its distance to the best other one, and of the gaps to all better ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.scores.base import Inputs, Labels, Score, Values, block_of, check_labels
from services.uncertainty.conformal.methods.scores.transforms import Transform, transform_label_scores, transform_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class THR(Score):
    """One minus the label's probability, also called LAC or HPS (Sadinle et al. 2019): the smallest sets on average.

    Attributes:
        transform: softmax for logits, identity for probabilities; the logarithms spread small probabilities out.
    """

    name: ClassVar[str] = "thr"
    transform: Transform = Transform.SOFTMAX

    def of_labels(self, inputs: Inputs, labels: Labels, uniforms: Values | None = None, *, threads: int = 1) -> Values:
        """As `Score.of_labels`, but reads only the label's own value where no other counts."""
        if self.transform in {Transform.SOFTMAX, Transform.LOG_SOFTMAX}:
            return super(THR, self).of_labels(inputs, labels, uniforms, threads=threads)
        self._numbers(inputs, uniforms)
        rows = np.arange(len(inputs))
        own = inputs[rows, check_labels(labels, len(inputs), inputs.shape[1])][:, None]
        return self._labelled(block_of(own, slice(None)), np.zeros(len(own), np.intp), np.zeros(len(own)))

    def _all(self, values: Values, uniforms: Values) -> Values:
        return 1 - transform_scores(values, self.transform)

    def _labelled(self, values: Values, labels: Labels, uniforms: Values) -> Values:
        return 1 - transform_label_scores(values, labels, self.transform)


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin(Score):
    """The largest other probability minus the label's own (Löfström et al. 2015): in [-1, 1] for probabilities.

    Attributes:
        transform: as for THR.
    """

    name: ClassVar[str] = "margin"
    transform: Transform = Transform.SOFTMAX

    def _all(self, values: Values, uniforms: Values) -> Values:
        values = transform_scores(values, self.transform)
        rows, best = np.arange(len(values)), values.argmax(axis=1)
        first = values[rows, best]
        values[rows, best] = -np.inf
        second = values.max(axis=1)
        values[rows, best] = first
        other = np.repeat(first[:, None], values.shape[1], axis=1)
        other[rows, best] = second
        return _difference(other, values)

    def _labelled(self, values: Values, labels: Labels, uniforms: Values) -> Values:
        values = transform_scores(values, self.transform)
        rows = np.arange(len(values))
        own = values[rows, labels]
        values[rows, labels] = -np.inf
        return _difference(values.max(axis=1), own)


def _difference(other: Values, own: Values) -> Values:
    """Other minus own; of two logarithms of zero 0, for neither is better."""
    with np.errstate(invalid="ignore"):
        return np.where(other == own, 0.0, other - own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entmax(Score):
    """The norm of the gaps to all better logits, which is what the entmax losses penalise (Campos et al. 2025).

    With delta = 1 / (gamma - 1) the score is (sum over better i of (z_i - z_y)^delta)^(1/delta): the gap to the best
    for gamma 1 (softmax), the sum of gaps for gamma 2 (sparsemax). Ties add nothing.

    Attributes:
        gamma: >= 1. Values other than 1 and 2 take K^2 operations for all labels of an item.
    """

    name: ClassVar[str] = "entmax"
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.gamma < np.inf:
            raise ValueError(f"gamma must be at least 1 and finite, not {self.gamma}")

    def _all(self, values: Values, uniforms: Values) -> Values:
        if self.gamma == 1:
            below: Values = values.max(axis=1, keepdims=True) - values
            return below
        if self.gamma == 2:
            return _sums_of_gaps(values)
        out = np.empty_like(values)
        for column in range(values.shape[1]):
            check_interruption()
            out[:, column] = self._norm(values, values[:, column])
        return out

    def _labelled(self, values: Values, labels: Labels, uniforms: Values) -> Values:
        own = values[np.arange(len(values)), labels]
        if self.gamma == 1:
            gap: Values = values.max(axis=1) - own
            return gap
        if self.gamma == 2:
            below = _on_grid(values)
            own = below[np.arange(len(values)), labels]
            better = below < own[:, None]
            total: Values = np.count_nonzero(better, axis=1) * own - np.where(better, below, 0).sum(axis=1)
            return total
        return self._norm(values, own)

    def _norm(self, values: Values, own: Values) -> Values:
        """The norm of the gaps; the largest is taken out, so that no power overflows or vanishes."""
        gaps = np.maximum(values - own[:, None], 0)
        largest = gaps.max(axis=1)
        scaled = np.divide(gaps, largest[:, None], out=np.zeros_like(gaps), where=largest[:, None] > 0)
        delta = 1 / (self.gamma - 1)
        total: Values = largest * (scaled**delta).sum(axis=1) ** (1 / delta)
        return total


def _on_grid(values: Values) -> Values:
    """Subtract each value from the best of its row, rounded to steps so small that sums of a row are exact in float64.

    Sums taken in another order are then equal to the last bit; a step is 2^-51 of the largest possible sum or less.
    """
    below = values.max(axis=1, keepdims=True) - values
    _, exponent = np.frexp(below.max(axis=1, keepdims=True) * values.shape[1])
    step = np.ldexp(1.0, np.maximum(exponent - 52, -1022))
    rounded: Values = np.rint(below / step) * step
    return rounded


def _sums_of_gaps(values: Values) -> Values:
    below = _on_grid(values)
    order = np.argsort(below, axis=1)
    ordered = np.take_along_axis(below, order, axis=1)
    gaps = np.arange(values.shape[1]) * ordered - (np.cumsum(ordered, axis=1) - ordered)
    out = np.empty_like(gaps)
    np.put_along_axis(out, order, gaps, axis=1)
    return out
