"""Greedy and beam search over a function that computes one word of many captions at once; NumPy only.

A row is a caption that is being written. Every row begins with the same word; captions of several pictures are computed
together, and with beams each picture has `width` rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.perception.captioning.vocabulary import END, FORBIDDEN, START

Arrays = tuple[NDArray[Any], ...]

_NEVER: Final = -np.inf


class Step(NamedTuple):
    """What one step answers.

    Attributes:
        log_probabilities: of the next word, float (rows, words).
        attention: where the step looked, float (rows, places); each row sums to 1.
        states: for the next step; the first axis of each is that of rows.
    """

    log_probabilities: NDArray[np.floating[Any]]
    attention: NDArray[np.floating[Any]]
    states: Arrays


class StepFunction(Protocol):
    """Computes the next word of each row."""

    def __call__(self, words: NDArray[np.int64], states: Arrays, contexts: Arrays) -> Step:
        """Answer to the words (rows,) before.

        Args:
            words: last word of each row.
            states: of each row, as the step before answered them.
            contexts: what the encoder says of each row's picture; alike in all steps.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How captions are searched.

    Attributes:
        width: beams of a picture.
        maximum: most words of a caption, not counting the end, which follows whatever its probability.
        minimum: fewest words.
        length_power: the score of a caption is its log-probability over (words + end) to this power; 0 favours short
            captions, 1 is the mean.
        forbidden: numbers that are never written.
        start: number that every row begins with.
        end: number that ends a caption.
    """

    width: int = 3
    maximum: int = 20
    minimum: int = 1
    length_power: float = 0.7
    forbidden: tuple[int, ...] = FORBIDDEN
    start: int = START
    end: int = END

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.minimum <= self.maximum or self.maximum < 1:
            raise ValueError("width and maximum are at least 1, minimum lies between 0 and maximum")


@dataclass(frozen=True, slots=True)
class DecodedCaption:
    """A caption with how it came about.

    Attributes:
        words: numbers without start and end.
        log_probabilities: of each word, and of the end.
        attention: float32 (words, places), where the network looked for each word.
        score: see `SearchOptions.length_power`.
    """

    words: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    attention: NDArray[np.float32]
    score: float


def search_greedily(
    step: StepFunction, states: Arrays, contexts: Arrays, options: SearchOptions | None = None
) -> list[DecodedCaption]:
    """The most likely word at each step, for each row; `width` of the options has no effect.

    Args:
        step: computes a word of all rows.
        states: to begin with, first axis (pictures,).
        contexts: of the pictures, first axis (pictures,).
        options: limits.
    """
    options = options or SearchOptions()
    count = len(contexts[0])
    rows = [_Row() for _ in range(count)]
    words, open_rows = np.full(count, options.start, np.int64), np.arange(count)
    for length in range(options.maximum + 1):
        answer = step(words, states, contexts)
        likely = _allowed(answer.log_probabilities, length, options)
        words = likely.argmax(axis=1)
        stays = words != options.end
        for place, index in enumerate(open_rows):
            rows[index] = rows[index].extend(int(words[place]), float(likely[place, words[place]]), answer, place)
        if not stays.any():
            break
        open_rows, words, states = open_rows[stays], words[stays], _take(answer.states, stays)
        contexts = contexts if stays.all() else _take(contexts, stays)
    return [row.caption(options.length_power) for row in rows]


def search_beams(
    step: StepFunction, states: Arrays, contexts: Arrays, options: SearchOptions | None = None
) -> list[list[DecodedCaption]]:
    """The best captions of each picture, the best first, at most `width` of them.

    At each step the `width` best continuations of a picture's rows are looked at: those that end are set aside, and the
    best that do not end fill the beams again. A picture is done when no open row can beat its `width` best captions.

    Args:
        step: computes a word of all rows.
        states: to begin with, first axis (pictures,).
        contexts: of the pictures, first axis (pictures,).
        options: width, limits, and what captions are ranked by.
    """
    options = options or SearchOptions()
    beams = [_Beam(options) for _ in range(len(contexts[0]))]
    running = list(range(len(beams)))
    words = np.full(len(beams), options.start, np.int64)
    for length in range(options.maximum + 1):
        answer = step(words, states, contexts)
        likely = _allowed(answer.log_probabilities, length, options)
        chosen, first, still = [], 0, []
        for index in running:
            beam, count = beams[index], len(beams[index].rows)
            sources = beam.advance(likely[first : first + count], answer, first)
            if not beam.done():
                still.append(index)
                chosen += sources
            first += count
        if not still:
            break
        running, order = still, np.array(chosen)
        states, contexts = _take(answer.states, order), _take(contexts, order)
        words = np.array([row.words[-1] for index in running for row in beams[index].rows], np.int64)
    return [beam.best() for beam in beams]


@dataclass(frozen=True, slots=True)
class _Row:
    """Words so far, and what each of them came with; the end is one of them."""

    words: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()
    attention: tuple[NDArray[np.float32], ...] = ()
    total: float = 0.0

    def extend(self, word: int, likely: float, answer: Step, place: int) -> _Row:
        seen = answer.attention[place].astype(np.float32)
        known = (*self.log_probabilities, likely)
        return _Row((*self.words, word), known, (*self.attention, seen), self.total + likely)

    def score(self, length_power: float) -> float:
        return self.total / float(len(self.words) ** length_power)

    def caption(self, length_power: float) -> DecodedCaption:
        seen = np.stack(self.attention)[:-1]
        return DecodedCaption(self.words[:-1], self.log_probabilities, seen, self.score(length_power))


@dataclass(slots=True)
class _Beam:
    """Rows of one picture."""

    options: SearchOptions
    rows: list[_Row] = field(default_factory=lambda: [_Row()])
    complete: list[_Row] = field(default_factory=list)

    def advance(self, likely: NDArray[np.floating[Any]], answer: Step, first: int) -> list[int]:
        """Continue the rows; returns which row of the step each of the new ones goes on from.

        Args:
            likely: log-probabilities (rows of this picture, words).
            answer: of the step.
            first: row of the step that is this picture's first.
        """
        width, end = self.options.width, self.options.end
        totals = np.array([row.total for row in self.rows])[:, None] + likely
        fresh: list[_Row] = []
        sources: list[int] = []
        for rank, (source, word) in enumerate(_largest(totals, width + len(self.rows))):
            if word == end and rank >= width:
                continue
            row = self.rows[source].extend(word, float(likely[source, word]), answer, first + source)
            if word == end:
                self.complete.append(row)
            elif len(fresh) < width:
                fresh.append(row)
                sources.append(first + source)
        self.rows = fresh
        return sources

    def done(self) -> bool:
        """Whether no row can come among the best: log-probabilities only fall, and lengths only grow to the limit."""
        if not self.rows:
            return True
        if len(self.complete) < self.options.width:
            return False
        power = self.options.length_power
        worst = sorted((row.score(power) for row in self.complete), reverse=True)[self.options.width - 1]
        return max(row.total for row in self.rows) / float((self.options.maximum + 1) ** power) <= worst

    def best(self) -> list[DecodedCaption]:
        power = self.options.length_power
        ranked = sorted(self.complete, key=lambda row: -row.score(power))
        return [row.caption(power) for row in ranked[: self.options.width]]


def _largest(totals: NDArray[np.floating[Any]], count: int) -> Sequence[tuple[int, int]]:
    """Places (row, word) of the largest finite values, the largest first; of equals the earlier one."""
    flat = totals.ravel()
    count = min(count, int(np.isfinite(flat).sum()))
    if count == 0:
        return []
    border = np.partition(flat, len(flat) - count)[len(flat) - count]
    candidates = np.flatnonzero(flat >= border)
    order = candidates[np.argsort(-flat[candidates], kind="stable")][:count]
    return [(int(place) // totals.shape[1], int(place) % totals.shape[1]) for place in order]


def _allowed(
    log_probabilities: NDArray[np.floating[Any]], length: int, options: SearchOptions
) -> NDArray[np.floating[Any]]:
    """Log-probabilities, minus infinity where the word may not follow `length` words."""
    allowed = log_probabilities.astype(np.float64)
    allowed[:, list(options.forbidden)] = _NEVER
    if length < options.minimum:
        allowed[:, options.end] = _NEVER
    if length == options.maximum:
        allowed[:, np.arange(allowed.shape[1]) != options.end] = _NEVER
    return allowed


def _take(arrays: Arrays, rows: NDArray[Any]) -> Arrays:
    return tuple(array[rows] for array in arrays)
