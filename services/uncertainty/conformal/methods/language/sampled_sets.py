"""Conformal language modelling: sets of sampled texts, one of which is admissible (Quach et al., ICLR 2024).

Texts are sampled one after the other. One is kept unless its quality is too low or it is too similar to a kept one;
sampling stops when the set is confident enough. The three bounds are chosen by Learn-then-Test: candidates for them
are ordered on one part of the data (Pareto testing, Laufer-Goldshtein et al. 2023) and tested on another, so that
P(risk <= alpha) >= 1 - delta, the risk being the probability that no kept text is admissible.

Models, texts and what makes a text admissible are the caller's; here are numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.language.set_scores import SetScore, set_scores
from services.uncertainty.conformal.methods.levels import Level, to_level

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """M sampled texts of each of n prompts, in the order in which they were drawn.

    Attributes:
        qualities: (n, M), in [0, 1], how likely each text is admissible; need not be calibrated.
        similarities: (n, M, M), of each pair, symmetric.
        admissible: (n, M), what is wanted of a text.
    """

    qualities: FloatArray
    similarities: FloatArray
    admissible: Mask

    @classmethod
    def of(cls, qualities: object, similarities: object, admissible: Mask) -> Samples:
        """Samples, checked; of the similarities of a pair the larger counts.

        Raises:
            ValueError: shapes that do not fit, values that are not finite, qualities outside of [0, 1].
        """
        values = require_finite(qualities, "qualities", shape=(None, None))
        count, drawn = values.shape
        pairs = require_finite(similarities, "similarities", shape=(count, drawn, drawn))
        if not drawn or ((values < 0) | (values > 1)).any():
            raise ValueError("qualities must lie in [0, 1], of one text at least")
        if admissible.shape != values.shape or admissible.dtype != np.bool_:
            raise ValueError(f"admissible must be bool {values.shape}")
        return cls(values, np.maximum(pairs, pairs.swapaxes(1, 2)), admissible)


@dataclass(frozen=True, slots=True, order=True)
class Bounds:
    """Bounds of similarity, quality and confidence by which sets of texts are made.

    Attributes:
        similarity: a text that is more similar than this to a kept one is left out.
        quality: a text of less than this is left out.
        confidence: sampling stops when the set's score reaches this.
    """

    similarity: float
    quality: float
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class TextSets:
    """Sets of texts.

    Attributes:
        kept: (n, M), texts that are in the set.
        drawn: (n,), texts that were sampled, 1 to M.
    """

    kept: Mask
    drawn: NDArray[np.int64]

    def misses(self, admissible: Mask) -> Mask:
        """Prompts whose set holds no admissible text, (n,)."""
        return np.asarray(~(self.kept & admissible).any(axis=1))

    @property
    def cost(self) -> float:
        """Mean number of texts in a set and mean number of texts drawn, added up."""
        return float(self.kept.sum(axis=1).mean() + self.drawn.mean())


def select_texts(samples: Samples, *, similarity: float, quality: float) -> Mask:
    """Which texts are kept if all are drawn, (n, M): good enough, and unlike every text kept before."""
    good = samples.qualities >= quality
    kept = np.zeros_like(good)
    for place in range(good.shape[1]):
        likeness = np.where(kept[:, :place], samples.similarities[:, place, :place], -np.inf)
        kept[:, place] = good[:, place] & (likeness.max(axis=1, initial=-np.inf) <= similarity)
    return kept


def predict_text_sets(samples: Samples, bounds: Bounds, score: SetScore) -> TextSets:
    """The set of each prompt: texts are drawn until its score reaches the bound, or there are no more."""
    kept = select_texts(samples, similarity=bounds.similarity, quality=bounds.quality)
    return _stop(kept, set_scores(samples.qualities, kept, score), bounds.confidence)


def _stop(kept: Mask, scores: FloatArray, confidence: float) -> TextSets:
    drawn = np.minimum(np.count_nonzero(scores < confidence, axis=1) + 1, kept.shape[1])
    return TextSets(kept & (np.arange(kept.shape[1]) < drawn[:, None]), drawn)


@dataclass(frozen=True, slots=True, eq=False)
class TunedBounds:
    """Bounds to be tested, in the order of the tests, chosen on data that tests nothing.

    Attributes:
        bounds: none of them has both a larger risk and a larger cost than another; the safest first.
        costs: see `TextSets.cost`, of each, (C,).
        score: the set score that the bounds of confidence are of.
    """

    bounds: tuple[Bounds, ...]
    costs: FloatArray
    score: SetScore


def tune(samples: Samples, score: SetScore, *, grid: int = 25) -> TunedBounds:
    """Candidates for the bounds: quantiles of what the samples show, of which the Pareto frontier is kept.

    Args:
        samples: prompts that are used for nothing else.
        score: of a set.
        grid: most values of each bound; infinite ones, which switch a bound off, are added.
    """
    off_diagonal = ~np.eye(samples.qualities.shape[1], dtype=np.bool_)
    similarities = [*_quantiles(samples.similarities[:, off_diagonal], grid), np.inf]
    qualities = [-np.inf, *_quantiles(samples.qualities, grid)]
    found: list[Bounds] = []
    figures: list[tuple[float, float]] = []
    for similarity, quality in product(similarities, qualities):
        kept = select_texts(samples, similarity=similarity, quality=quality)
        scores = set_scores(samples.qualities, kept, score)
        for confidence in [*_quantiles(scores, grid), np.inf]:
            sets = _stop(kept, scores, confidence)
            found.append(Bounds(similarity, quality, confidence))
            figures.append((float(sets.misses(samples.admissible).mean()), sets.cost))
    order = pareto_order(np.array(figures))
    return TunedBounds(tuple(found[index] for index in order), np.array([figures[index][1] for index in order]), score)


def _quantiles(values: FloatArray, count: int) -> list[float]:
    known = values[np.isfinite(values)]
    return [float(one) for one in np.unique(np.quantile(known, np.linspace(0, 1, count)))] if known.size else []


def pareto_order(figures: FloatArray) -> NDArray[np.int64]:
    """Indices of rows (risk, cost), (C, 2), that no other row beats in one without losing in the other; by risk.

    Of equal rows the first is kept.
    """
    order = np.lexsort((figures[:, 1], figures[:, 0]))
    costs = figures[order, 1]
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(costs)[:-1]])
    return np.asarray(order[costs < best_before], dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class TestedBounds:
    """The result of the tests.

    Attributes:
        chosen: valid bounds with the smallest cost on the tuning data; None where no bounds are valid.
        valid: (C,), all of them have a risk of at most alpha at once with probability 1 - delta.
        p_values: (C,), of the hypotheses that the risk exceeds alpha.
        risks: (C,), shares of prompts without an admissible text.
    """

    chosen: Bounds | None
    valid: Mask
    p_values: FloatArray
    risks: FloatArray


def validate(samples: Samples, tuned: TunedBounds, alpha: Level, *, delta: Level) -> TestedBounds:
    """Test the tuned bounds in their order, up to the first that is not significant.

    Args:
        samples: prompts that are exchangeable with those to come and did not tune.
        tuned: see `tune`.
        alpha: risk that is accepted, in (0, 1).
        delta: probability that bounds that are called valid have a larger risk, in (0, 1).
    """
    count = len(samples.qualities)
    misses = np.array(
        [predict_text_sets(samples, one, tuned.score).misses(samples.admissible).sum() for one in tuned.bounds],
        dtype=np.int64,
    )
    p_values = np.asarray(scipy.stats.binom.cdf(misses, count, float(to_level(alpha))), dtype=np.float64)
    valid = np.logical_and.accumulate(p_values <= float(to_level(delta)))
    best = int(np.argmin(np.where(valid, tuned.costs, np.inf))) if valid.any() else None
    chosen = None if best is None else tuned.bounds[best]
    return TestedBounds(chosen, valid, p_values, misses / count)
