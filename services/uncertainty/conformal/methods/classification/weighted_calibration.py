"""Calibration under covariate shift: items count by how likely they are where the test items come from."""

from __future__ import annotations

from dataclasses import dataclass

from services.uncertainty.conformal.methods.coverage_distribution import effective_sample_size
from services.uncertainty.conformal.methods.levels import Level, WeightedScores
from services.uncertainty.conformal.methods.scores import Inputs, Labels, Score, Sets, Values


@dataclass(frozen=True, kw_only=True)
class WeightedCalibration:
    """Weighted split conformal prediction (Tibshirani et al. 2019, corollary 1).

    Coverage of 1 - alpha holds for the true density ratio of test to calibration items, whatever its scale, and
    approximately for an estimate. A test item's own weight sits at infinity: where it is large every label is returned.

    Attributes:
        score: what was calibrated.
        scores: sorted scores with the weights of their items.
        classes: K, the number of labels.
    """

    score: Score
    scores: WeightedScores
    classes: int

    @property
    def effective_size(self) -> float:
        """Effective sample size: (sum of weights)^2 / (sum of squared weights)."""
        return effective_sample_size(self.scores.weights)

    def sets(
        self, inputs: Inputs, alpha: Level, *, weights: Values, uniforms: Values | None = None, threads: int = 1
    ) -> Sets:
        """The labels with a score of at most the item's weighted quantile, bool (N, K).

        Args:
            inputs: as the score takes them, (N, K) or (N, F).
            alpha: miscoverage level.
            weights: of the test items on the scale of the calibration weights, (N,), >= 0.
            uniforms: numbers of the items, (N,), if the score is randomised.
            threads: threads that share the rows.

        Raises:
            ValueError: inputs, weights or numbers that do not fit.
        """
        self._check(inputs, weights)
        thresholds = self.scores.quantiles(weights, alpha)[:, None]
        return self.score.sets(inputs, thresholds, uniforms, threads=threads)

    def p_values(self, inputs: Inputs, *, weights: Values, uniforms: Values | None = None, threads: int = 1) -> Values:
        """The share of weight at or above each label's score, (N, K); arguments as for `sets`."""
        self._check(inputs, weights)
        return self.scores.p_values(self.score.of_all(inputs, uniforms, threads=threads), weights)

    def _check(self, inputs: Inputs, weights: Values) -> None:
        if inputs.ndim != 2 or self.score.classes_of(inputs) != self.classes:
            raise ValueError(f"calibrated for {self.classes} labels, not for inputs of shape {inputs.shape}")
        if weights.shape != (len(inputs),):
            raise ValueError(f"a weight of each of the {len(inputs)} items is needed")


def calibrate_weighted(
    score: Score,
    inputs: Inputs,
    labels: Labels,
    weights: Values,
    *,
    uniforms: Values | None = None,
    threads: int = 1,
) -> WeightedCalibration:
    """Calibrate on labelled items (N,) with weights (N,), p_test(x) / p_calibration(x) up to scale.

    Raises:
        ValueError: anything that does not fit.
    """
    scores = score.of_labels(inputs, labels, uniforms, threads=threads)
    return WeightedCalibration(score=score, scores=WeightedScores.of(scores, weights), classes=score.classes_of(inputs))
