"""Counts of word sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Ngram = tuple[str, ...]
Words = Sequence[str]


def count_ngrams(words: Words, size: int) -> Counter[Ngram]:
    """How often each sequence of `size` words occurs."""
    return Counter(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def require_pairs(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> None:
    """Raise ValueError unless there are captions and each has references."""
    if not candidates or len(candidates) != len(references) or not all(references):
        raise ValueError("as many lists of references as captions are needed, one at least, none of them empty")
