"""ROUGE-L (Lin 2004) as COCO's evaluation has it: best precision and best recall over references, recall weighted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.captions.ngrams import Words, require_pairs

BETA = 1.2
"""COCO's weight of recall."""


def rouge_l(candidates: Sequence[Words], references: Sequence[Sequence[Words]], *, beta: float = BETA) -> list[float]:
    """ROUGE-L of each caption, in [0, 1]; the corpus figure is their mean.

    Args:
        candidates: captions.
        references: of each caption.
        beta: weight of recall over precision; 1 for the plain harmonic mean.
    """
    require_pairs(candidates, references)
    return [_score(one, those, beta) for one, those in zip(candidates, references, strict=True)]


def common_length(one: Words, other: Words) -> int:
    """Length of the longest common subsequence."""
    numbers = {word: number for number, word in enumerate({*one, *other})}
    row = np.zeros(len(other) + 1, np.int64)
    others = np.array([numbers[word] for word in other], np.int64)
    for word in one:
        fresh = np.maximum(row[1:], row[:-1] + (others == numbers[word]))
        row[1:] = np.maximum.accumulate(fresh)
    return int(row[-1])


def _score(candidate: Words, references: Sequence[Words], beta: float) -> float:
    common = [common_length(candidate, reference) for reference in references]
    precision = max(common) / max(len(candidate), 1)
    recall = max(length / max(len(reference), 1) for length, reference in zip(common, references, strict=True))
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
