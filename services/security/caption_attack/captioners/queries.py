"""Asks a captioner, each picture once, and counts.

A query counts before it is sent, so that a captioner never sees more pictures than its budget allows. Three numbers are
counted apart:

- `evaluations`: pictures that a search asked about, those that are known already included;
- `queries`: pictures that the captioner has answered, clean ones and repeats included, further tries not: what searches
  are compared at;
- what is spent of the budget: pictures that the captioner has seen, or may have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.problems import BadGateway

CAPTION_LIMIT: Final = 2000
"""Characters of a caption that are looked at."""


class CaptionTarget(Protocol):
    """A captioner as a black box.

    One that asks again by itself when a try fails spends each further try of the budget it was made with; the first try
    of each picture is spent by who asks it.
    """

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        """One caption of each picture, (h, w, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Captions of a picture, one or as many as it is asked about, and how many queries there were up to it."""

    captions: tuple[str, ...]
    queries: int


class CaptionQueries:
    """Captions of pictures, from memory where they are known.

    Args:
        target: the captioner.
        budget: of pictures that it may see; of nobody else at the same time.
        batch: most pictures that it is sent at once.
        reserve: called after a batch is counted and before it is sent. What it saves then counts the batch as seen, so
            that the budget holds even if this process is killed before the answer. If it raises, nothing is sent.
    """

    def __init__(
        self,
        target: CaptionTarget,
        budget: QueryBudget,
        *,
        batch: int = 20,
        reserve: Callable[[], None] | None = None,
    ) -> None:
        self.budget, self.repeats = budget, 1
        self.evaluations, self.queries = 0, 0
        self.answers: dict[str, tuple[str, ...]] = {}
        self._target, self._batch, self._reserve = target, max(1, batch), reserve

    def ask_anyway(self, pictures: Sequence[NDArray[np.uint8]]) -> tuple[str, ...]:
        """One caption of each picture, be they known or equal.

        Raises:
            BudgetExhausted: not all of them can be asked about; none is.
            Problem: the captioner does not answer.
        """
        if len(pictures) > self.budget.left:
            raise BudgetExhausted(f"The budget has {self.budget.left} queries left, and {len(pictures)} are needed.")
        captions: list[str] = []
        for start in range(0, len(pictures), self._batch):
            captions += self._send(list(pictures[start : start + self._batch]))
        self.queries += len(captions)
        return tuple(captions)

    def remember(self, picture: NDArray[np.uint8], captions: tuple[str, ...]) -> None:
        """Captions of a picture that need not be asked for."""
        self.answers[picture_key(picture)] = captions

    def ask(self, pictures: NDArray[np.uint8]) -> list[Answer]:
        """Captions of pictures, (n, h, w, 3) uint8.

        Returns:
            Of the first n pictures, or of fewer where the budget ends.

        Raises:
            Problem: the captioner does not answer. What it has answered before is known when it is asked again.
        """
        keys = [picture_key(picture) for picture in pictures]
        fresh = {key: index for index, key in reversed(list(enumerate(keys))) if key not in self.answers}
        wanted, before = sorted(fresh.values()), self.queries
        with suppress(BudgetExhausted):  # what is answered counts
            self._ask_all(pictures, keys, wanted)
        return self._collect(keys, set(wanted), before)

    def _ask_all(self, pictures: NDArray[np.uint8], keys: Sequence[str], wanted: list[int]) -> None:
        while wanted:
            fitting = min(max(1, self._batch // self.repeats), self.budget.left // self.repeats)
            if fitting == 0:
                return
            sent, wanted = wanted[:fitting], wanted[fitting:]
            captions = self._send([pictures[index] for index in sent for _ in range(self.repeats)])
            for place, index in enumerate(sent):
                self.answers[keys[index]] = tuple(captions[place * self.repeats : (place + 1) * self.repeats])
            self.queries += len(captions)

    def _collect(self, keys: Sequence[str], fresh: set[int], before: int) -> list[Answer]:
        answers: list[Answer] = []
        for index, key in enumerate(keys):
            if key not in self.answers:
                break
            before += self.repeats * (index in fresh)
            answers.append(Answer(self.answers[key], before))
        self.evaluations += len(answers)
        return answers

    def _send(self, pictures: list[NDArray[np.uint8]]) -> list[str]:
        self.budget.spend(len(pictures))
        if self._reserve is not None:
            try:
                self._reserve()
            except BaseException:
                self.budget.give_back(len(pictures))
                raise
        captions = self._target.caption(pictures)
        if len(captions) != len(pictures) or not all(isinstance(caption, str) for caption in captions):
            raise BadGateway(f"The captioner gave {len(captions)} captions of {len(pictures)} pictures, or no texts.")
        return [caption[:CAPTION_LIMIT] for caption in captions]


def picture_key(picture: NDArray[np.uint8]) -> str:
    """SHA-256 of the size and the pixels, hexadecimal; that of its PNG would take longer and tell no more."""
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()
