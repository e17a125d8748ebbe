"""Calibrations of classifiers: the sorted scores of labelled items, and the sets and p-values that follow of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.uncertainty.conformal.methods.classification.taxonomies import (
    ByGroup,
    ByLabel,
    Groups,
    Marginal,
    Taxonomy,
)
from services.uncertainty.conformal.methods.group_scores import Cells, p_values
from services.uncertainty.conformal.methods.levels import Level
from services.uncertainty.conformal.methods.scores import Inputs, Labels, Score, Sets, Values


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Split conformal prediction within the cells of a taxonomy.

    For an exchangeable test item the set of level alpha holds its label with probability in [1 - alpha,
    1 - alpha + 1/(n + 1)] within each cell of n scores (the upper bound needs scores without ties). The probability is
    over calibration and test items; see `laws.coverage_band` for one calibration.

    Attributes:
        score: what was calibrated.
        taxonomy: what is compared with what.
        cells: sorted scores by cell.
    """

    score: Score
    taxonomy: Taxonomy
    cells: Cells

    def thresholds(self, alpha: Level) -> Values:
        """The threshold of each cell, (cells,); infinite where it has fewer than `needed_count(alpha)` scores."""
        return self.cells.thresholds(alpha)

    def sets(
        self,
        inputs: Inputs,
        alpha: Level,
        *,
        uniforms: Values | None = None,
        groups: Groups | None = None,
        threads: int = 1,
    ) -> Sets:
        """The labels with a score of at most their threshold, bool (N, K). Sets may be empty.

        Args:
            inputs: as the score takes them, (N, K) or (N, F).
            alpha: miscoverage level; any, whatever was asked before.
            uniforms: numbers of the items, (N,), if the score is randomised.
            groups: of the items, (N,), if the taxonomy has groups.
            threads: threads that share the rows.

        Raises:
            ValueError: inputs, level, numbers or groups that do not fit.
        """
        cells = self._cells(inputs, groups)
        thresholds = np.append(self.cells.thresholds(alpha), np.inf)[cells]
        return self.score.sets(inputs, thresholds, uniforms, threads=threads)

    def p_values(
        self,
        inputs: Inputs,
        *,
        uniforms: Values | None = None,
        groups: Groups | None = None,
        smoothing: Values | None = None,
        threads: int = 1,
    ) -> Values:
        """The p-value of each label, (N, K) in (0, 1]; a label is in the set of level alpha where it is above alpha.

        Args:
            inputs: as for `sets`.
            uniforms: as for `sets`.
            groups: as for `sets`.
            smoothing: numbers of the items, (N,), of a purpose of their own: p-values are then exactly uniform.
            threads: threads that share the rows.
        """
        scores = self.score.of_all(inputs, uniforms, threads=threads)
        return p_values(self.cells.compare(scores, self._cells(inputs, groups)), smoothing)

    def _cells(self, inputs: Inputs, groups: Groups | None) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        if inputs.ndim != 2 or self.score.classes_of(inputs) != self.taxonomy.classes:
            raise ValueError(f"calibrated for {self.taxonomy.classes} labels, not for inputs of shape {inputs.shape}")
        return self.taxonomy.of_all(len(inputs), groups)


def calibrate(
    score: Score,
    inputs: Inputs,
    labels: Labels,
    *,
    uniforms: Values | None = None,
    taxonomy: Taxonomy | None = None,
    groups: Groups | None = None,
    threads: int = 1,
) -> Calibration:
    """Calibrate on labelled items.

    Args:
        score: the nonconformity score; its parameters must not have been chosen on these items.
        inputs: as the score takes them, (N, K) or (N, F).
        labels: of the items, (N,).
        uniforms: numbers of the items, (N,), if the score is randomised.
        taxonomy: one cell for everything by default.
        groups: of the items, (N,), if the taxonomy has groups.
        threads: threads that share the rows.

    Raises:
        ValueError: anything that does not fit, or an item in a group that the taxonomy does not know.
    """
    scores = score.of_labels(inputs, labels, uniforms, threads=threads)
    taxonomy = taxonomy or Marginal(classes=score.classes_of(inputs))
    if taxonomy.classes != score.classes_of(inputs):
        raise ValueError(f"a taxonomy of {taxonomy.classes} labels for {score.classes_of(inputs)}")
    return Calibration(
        score=score, taxonomy=taxonomy, cells=Cells.of(scores, taxonomy.of_labels(labels, groups), taxonomy.cells)
    )


def make_class_taxonomy(classes: int) -> ByLabel:
    """The taxonomy of class-conditional coverage: each label by itself."""
    return ByLabel(classes=classes)


def make_group_taxonomy(groups: Groups, classes: int, *, with_labels: bool = False) -> ByGroup:
    """The taxonomy of the groups that calibration items have."""
    return ByGroup(classes=classes, known=tuple(np.unique(groups).tolist()), with_labels=with_labels)


def add_best_label(sets: Sets, logits: Inputs) -> Sets:
    """The sets with the best label put into empty ones, a copy: coverage can only rise.

    Args:
        sets: bool (N, K).
        logits: anything whose largest value marks the best label, (N, K).
    """
    filled = sets.copy()
    empty = np.flatnonzero(~filled.any(axis=1))
    filled[empty, logits[empty].argmax(axis=1)] = True
    return filled
