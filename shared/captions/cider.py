"""CIDEr-D (Vedantam, Zitnick, Parikh 2015): n-grams weighted by how rare they are among the pictures' references."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.captions.ngrams import Ngram, Words, count_ngrams, require_pairs

SIZES: Final = 4
SIGMA: Final = 6.0
"""Of the normal penalty on differences in length, in words."""

_SCALE: Final = 10.0


@dataclass(frozen=True, slots=True)
class DocumentFrequencies:
    """In the references of how many pictures each n-gram occurs."""

    counts: Mapping[Ngram, int]
    pictures: int

    def weigh(self, words: Words) -> list[dict[Ngram, float]]:
        """Counts times inverse document frequency, for n-grams of each size."""
        whole = math.log(self.pictures)
        return [
            {
                ngram: count * (whole - math.log(max(1, self.counts.get(ngram, 0))))
                for ngram, count in count_ngrams(words, size).items()
            }
            for size in range(1, SIZES + 1)
        ]


def document_frequencies(references: Sequence[Sequence[Words]]) -> DocumentFrequencies:
    """Of a corpus: references by picture."""
    counts: Counter[Ngram] = Counter()
    for those in references:
        counts.update({ngram for words in those for size in range(1, SIZES + 1) for ngram in count_ngrams(words, size)})
    return DocumentFrequencies(counts, len(references))


def cider_d(
    candidates: Sequence[Words],
    references: Sequence[Sequence[Words]],
    frequencies: DocumentFrequencies | None = None,
) -> list[float]:
    """CIDEr-D of each caption, from 0 (no word right) to 10; the corpus figure is their mean.

    Args:
        candidates: captions.
        references: of each caption.
        frequencies: of the corpus that rarity is measured in; by default that of `references`, as COCO's evaluation
            does. With one picture alone every n-gram would weigh nothing.
    """
    require_pairs(candidates, references)
    frequencies = frequencies or document_frequencies(references)
    return [_score(one, those, frequencies) for one, those in zip(candidates, references, strict=True)]


def _score(candidate: Words, references: Sequence[Words], frequencies: DocumentFrequencies) -> float:
    mine = frequencies.weigh(candidate)
    total = 0.0
    for reference in references:
        difference = max(0, len(candidate) - 1) - max(0, len(reference) - 1)  # lengths in pairs of words, as COCO's
        penalty = math.exp(-(difference**2) / (2 * SIGMA**2))
        similar = sum(_similarity(a, b) for a, b in zip(mine, frequencies.weigh(reference), strict=True))
        total += penalty * similar / SIZES
    return _SCALE * total / len(references)


def _similarity(candidate: Mapping[Ngram, float], reference: Mapping[Ngram, float]) -> float:
    """Cosine of weights; those of the caption are clipped to those of the reference."""
    shared = candidate.keys() & reference.keys()
    product = sum(min(candidate[ngram], reference[ngram]) * reference[ngram] for ngram in shared)
    lengths = _length(candidate) * _length(reference)
    return product / lengths if lengths else 0.0


def _length(weights: Mapping[Ngram, float]) -> float:
    return math.sqrt(sum(weight * weight for weight in weights.values()))
