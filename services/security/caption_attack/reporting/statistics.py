"""Statistics over pictures: what arms differ by, how often they succeed, after how many queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.captions.bleu import SIZES, sentence_bleu
from shared.captions.cider import DocumentFrequencies, cider_d
from shared.captions.corpus import measure_corpus
from shared.captions.rouge import rouge_l
from shared.captions.words import split_words
from shared.intervals import LEVEL, wilson_interval

RESAMPLES: Final = 10_000
_BLOCK: Final = 1_000_000
"""Numbers that a bootstrap holds at once."""


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """A mean difference of pairs.

    Attributes:
        mean: of the first less the second.
        low, high: 95 % percentile bootstrap interval over pictures; None of fewer than two pictures.
        pictures: how many.
    """

    mean: float
    low: float | None
    high: float | None
    pictures: int

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Share of runs with a success, with its 95 % interval (Wilson 1927) for as many trials as there are pictures."""

    successes: int
    runs: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MedianQueries:
    """Median queries to the first success.

    Attributes:
        of_successes: of pictures with one; None where there is none. It grows when harder pictures succeed too.
        of_all: of all pictures, those without a success counted as never; None where half of them or more never do.
    """

    of_successes: float | None
    of_all: float | None


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric before and after.

    Attributes:
        before, after: of the corpus.
        drop: mean over pictures of what each has lost; for BLEU of sentences, smoothed, which the corpus is not.
    """

    before: float
    after: float
    drop: MeanDifference


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> MeanDifference:
    """Mean difference of paired values, with an interval from pictures drawn with replacement.

    Args:
        first: one value of each picture; where there are several seeds, their mean.
        second: of the same pictures.
        seed: of the resampling.
        resamples: how many.

    Raises:
        ValueError: there are no pairs, or values that are not finite.
    """
    differences = np.subtract(np.asarray(first, np.float64), np.asarray(second, np.float64))
    count = differences.size
    if count == 0 or len(first) != len(second) or not np.isfinite(differences).all():
        raise ValueError("pairs of finite values are needed, and one pair at least")
    mean = float(differences.mean())
    if count < 2:
        return MeanDifference(mean, None, None, count)
    means = _resampled_means(differences, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return MeanDifference(mean, float(low), float(high), count)


def _resampled_means(values: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Drawn in blocks: all at once are a gigabyte for ten thousand pictures, and scipy's bootstrap draws them so."""
    rows = max(1, _BLOCK // values.size)
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([values[rng.integers(values.size, size=(size, values.size))].mean(axis=1) for size in sizes])


def success_rate(first_successes: Sequence[int | None], *, pictures: int | None = None) -> SuccessRate:
    """Share of runs that have a success.

    Args:
        first_successes: of each run, queries to its first success, or None.
        pictures: that the runs were on, where some had several: seeds of one picture are no further pictures.

    Raises:
        ValueError: there are no runs.
    """
    runs, successes = len(first_successes), sum(one is not None for one in first_successes)
    if not runs:
        raise ValueError("a rate needs a picture")
    low, high = wilson_interval(successes / runs, pictures or runs)
    return SuccessRate(successes, runs, successes / runs, low, high)


def median_queries(first_successes: Sequence[int | None]) -> MedianQueries:
    """Median queries to the first success; arguments as of `success_rate`."""
    reached = [one for one in first_successes if one is not None]
    if not reached:
        return MedianQueries(None, None)
    whole = float(np.median([math.inf if one is None else one for one in first_successes]))
    return MedianQueries(float(np.median(reached)), whole if math.isfinite(whole) else None)


def success_curve(first_successes: Sequence[int | None], queries: Sequence[int]) -> list[float]:
    """Share of pictures with a success after each of these numbers of queries; arguments as of `success_rate`."""
    reached = np.sort([math.inf if one is None else one for one in first_successes])
    return [float(share) for share in np.searchsorted(reached, queries, side="right") / len(reached)]


def sentence_metrics(
    captions: Sequence[str], references: Sequence[Sequence[str]], frequencies: DocumentFrequencies | None = None
) -> dict[str, NDArray[np.float64]]:
    """BLEU-1 to BLEU-4 (smoothed), ROUGE-L (F1) and CIDEr-D of each caption, by name.

    Args:
        captions: one of each picture.
        references: of each picture.
        frequencies: of the corpus that CIDEr-D measures rarity in; by default that of the references.
    """
    words, right = _split(captions, references)
    bleu = np.array([sentence_bleu(one, those) for one, those in zip(words, right, strict=True)])
    metrics = {f"BLEU-{size}": bleu[:, size - 1] for size in range(1, SIZES + 1)}
    metrics["ROUGE-L"] = np.array(rouge_l(words, right, beta=1.0))
    metrics["CIDEr-D"] = np.array(cider_d(words, right, frequencies))
    return metrics


def compare_corpora(
    before: Sequence[str],
    after: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    frequencies: DocumentFrequencies | None = None,
    seed: int = 0,
) -> dict[str, MetricChange]:
    """All metrics of captions before and after an attack, by name.

    Args:
        before: captions of clean pictures.
        after: captions of the same pictures, changed.
        references: of each picture.
        frequencies: of the corpus that CIDEr-D of each picture measures rarity in; by default that of the references.
        seed: of the resampling.
    """
    words_before, right = _split(before, references)
    words_after, _ = _split(after, references)
    corpora = measure_corpus(words_before, right), measure_corpus(words_after, right)
    each = sentence_metrics(before, references, frequencies), sentence_metrics(after, references, frequencies)
    return {
        name: MetricChange(
            corpora[0][name],
            corpora[1][name],
            paired_difference(list(each[0][name]), list(each[1][name]), seed=seed),
        )
        for name in each[0]
    }


def _split(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    return [split_words(caption) for caption in captions], [
        [split_words(reference) for reference in those] for those in references
    ]
