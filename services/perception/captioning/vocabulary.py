"""The words that a captioner knows, and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

PAD: Final = 0
"""Fills rows up behind the end."""

START: Final = 1
END: Final = 2
UNKNOWN: Final = 3
"""A word that is not in the vocabulary."""

SPECIALS: Final = ("<pad>", "<start>", "<end>", "<unknown>")
FORBIDDEN: Final = (PAD, START, UNKNOWN)
"""What no decoded caption holds."""


@dataclass(frozen=True)
class Vocabulary:
    """Words by number, the first of them `SPECIALS`."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIALS)] != SPECIALS or len(set(self.words)) != len(self.words):
            raise ValueError(f"a vocabulary begins with {SPECIALS} and holds each word once")

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, words: Iterable[str]) -> list[int]:
        """Numbers of words, without start and end."""
        return [self.numbers.get(word, UNKNOWN) for word in words]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Words of numbers, without specials but `<unknown>`."""
        return [self.words[number] for number in numbers if number not in {PAD, START, END}]


def build_vocabulary(captions: Iterable[Sequence[str]], *, minimum_count: int = 5) -> Vocabulary:
    """Words that occur at least `minimum_count` times, the most frequent first, then by alphabet."""
    counts = Counter(word for caption in captions for word in caption)
    frequent = sorted((-count, word) for word, count in counts.items() if count >= minimum_count)
    return Vocabulary((*SPECIALS, *(word for _, word in frequent)))
