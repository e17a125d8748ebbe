"""RC3P: class-conditional sets that also drop labels ranked too low (Shi et al. 2024, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.group_scores import Cells
from services.uncertainty.conformal.methods.levels import Level, to_level
from services.uncertainty.conformal.methods.scores import Inputs, Labels, Score, Sets, TopK, Values

_RANK = TopK(randomised=False)


@dataclass(frozen=True, kw_only=True)
class RankCalibration:
    """Calibration by class and rank: sorted scores of each label, and its sorted ranks (from 1) where it was true.

    For label y the rank limit k is the smallest whose share of examples ranked below it, e, is less than alpha; the
    threshold is the class's own at level alpha - e. A label is in the set where score and rank both fit. Coverage of
    each class is 1 - alpha up to the error of e, which is estimated on the same items: approximate for small classes.
    The sets need not grow as alpha falls, so there are no p-values.

    Attributes:
        score: what was calibrated.
        scores: sorted scores by label.
        ranks: sorted ranks by label.
    """

    score: Score
    scores: Cells
    ranks: Cells

    def limits(self, alpha: Level) -> tuple[Values, NDArray[np.int64]]:
        """Threshold and rank limit of each label, (K,) each; infinity and K for labels without examples."""
        level = to_level(alpha)
        classes = len(self.scores)
        thresholds, limits = np.full(classes, np.inf), np.full(classes, classes, np.int64)
        for label in np.flatnonzero(self.ranks.counts).tolist():
            ranks = self.ranks.cell(label)
            limit = _rank_limit(ranks, level)
            missed = Fraction(int((ranks > limit).sum()), len(ranks))
            limits[label] = limit
            thresholds[label] = self.scores.threshold(label, level - missed).value
        return thresholds, limits

    def sets(self, inputs: Inputs, alpha: Level, *, uniforms: Values | None = None, threads: int = 1) -> Sets:
        """The labels whose score and rank fit, bool (N, K).

        Args:
            inputs: logits or probabilities (N, K).
            alpha: miscoverage level.
            uniforms: numbers of the items, (N,), if the score is randomised.
            threads: threads that share the rows.

        Raises:
            ValueError: inputs or numbers that do not fit.
        """
        if inputs.ndim != 2 or inputs.shape[1] != len(self.scores):
            raise ValueError(f"calibrated for {len(self.scores)} labels, not for inputs of shape {inputs.shape}")
        thresholds, limits = self.limits(alpha)
        fitting = self.score.sets(inputs, thresholds[None], uniforms, threads=threads)
        return fitting & (_RANK.of_all(inputs, threads=threads) <= limits)


def calibrate_ranks(
    score: Score, inputs: Inputs, labels: Labels, *, uniforms: Values | None = None, threads: int = 1
) -> RankCalibration:
    """Calibrate on labelled items: logits or probabilities (N, K) and labels (N,).

    Raises:
        ValueError: anything that does not fit.
    """
    scores = score.of_labels(inputs, labels, uniforms, threads=threads)
    ranks = _RANK.of_labels(inputs, labels, threads=threads)
    classes = inputs.shape[1]
    cells = np.asarray(labels, np.intp)
    return RankCalibration(score=score, scores=Cells.of(scores, cells, classes), ranks=Cells.of(ranks, cells, classes))


def _rank_limit(ranks: Values, level: Fraction) -> int:
    """The smallest k with #{rank > k} < alpha n: the rank of the last example that must not be missed."""
    allowed = -(-(level * len(ranks)).numerator // (level * len(ranks)).denominator) - 1
    return int(ranks[len(ranks) - 1 - allowed])
