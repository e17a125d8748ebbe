"""BLEU-1 to BLEU-4 (Papineni et al. 2002), over a corpus and of one caption.

The corpus figure is that of COCO's evaluation: clipped counts and lengths are summed over all captions; the reference
length of a caption is the one closest to its own, the shorter of two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.captions.ngrams import Ngram, Words, count_ngrams, require_pairs

SIZES = 4
_TINY, _SMALL = 1e-15, 1e-9
"""COCO's: a count of zero gives a figure of about zero, and not an error."""


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of one caption or of many: lengths, and for each size of n-grams those found and those that are right."""

    length: int
    reference_length: int
    found: NDArray[np.int64]
    right: NDArray[np.int64]


def corpus_bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """BLEU-1 to BLEU-4 of a corpus, each in [0, 1].

    Raises:
        ValueError: there are no captions, or some have no references.
    """
    require_pairs(candidates, references)
    counts = [_count(one, those) for one, those in zip(candidates, references, strict=True)]
    total = _Counts(
        sum(one.length for one in counts),
        sum(one.reference_length for one in counts),
        np.sum([one.found for one in counts], axis=0),
        np.sum([one.right for one in counts], axis=0),
    )
    shares = (total.right + _TINY) / (total.found + _SMALL)
    return [float(value) for value in _combine(shares) * _brevity(total)]


def sentence_bleu(candidate: Words, references: Sequence[Words], *, smoothing: float = 1.0) -> list[float]:
    """BLEU-1 to BLEU-4 of one caption, each in [0, 1].

    Args:
        candidate: the caption.
        references: at least one.
        smoothing: added to right and found counts of two words and more (Lin and Och 2004), without which a caption
            that shares no four words with a reference has a BLEU-4 of zero, however near it is; 0 for none.
    """
    require_pairs([candidate], [references])
    counts = _count(candidate, references)
    added = np.array([0.0] + [smoothing] * (SIZES - 1))
    right, found = counts.right + added, counts.found + added
    shares = np.divide(right, found, out=np.zeros(SIZES), where=found > 0)
    return [float(value) for value in _combine(shares) * _brevity(counts)]


def _count(candidate: Words, references: Sequence[Words]) -> _Counts:
    found, right = np.zeros(SIZES, np.int64), np.zeros(SIZES, np.int64)
    for size in range(1, SIZES + 1):
        most: Counter[Ngram] = Counter()
        for reference in references:
            most |= count_ngrams(reference, size)
        mine = count_ngrams(candidate, size)
        found[size - 1] = max(0, len(candidate) - size + 1)
        right[size - 1] = (mine & most).total()
    closest = min((abs(len(reference) - len(candidate)), len(reference)) for reference in references)[1]
    return _Counts(len(candidate), closest, found, right)


def _combine(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric means of the first 1, 2, 3 and 4 shares."""
    combined: NDArray[np.float64] = np.cumprod(shares) ** (1 / np.arange(1, SIZES + 1))
    return combined


def _brevity(counts: _Counts) -> float:
    ratio = (counts.length + _TINY) / (counts.reference_length + _SMALL)
    return math.exp(min(0.0, 1 - 1 / ratio))
