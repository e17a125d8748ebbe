"""How far a campaign is, as its checkpoints say it, and what has come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from services.security.caption_attack.pictures.distances import Distances
from services.security.caption_attack.searching.objectives import Goal

Ended = Literal["budget", "success", "finished", "stalled", "repeating"]
"""
- `budget`: no further query fits.
- `success`: the goal that it was to stop at is reached.
- `finished`: the search has nothing more to ask.
- `stalled`: the search has found nothing better for long.
- `repeating`: the search asks about nothing but pictures that are known.
"""


class CurvePoint(BaseModel):
    """A score that no picture had before."""

    queries: int = Field(description="After so many of them, clean ones included")
    score: float = Field(description="Lower is better for the attack")
    captions: tuple[str, ...] = Field(description="Of the picture that has it")


class Reached(BaseModel):
    """The first picture that reaches a goal."""

    queries: int = Field(description="After so many of them, clean ones included")
    score: float = Field(description="Of the picture")
    captions: tuple[str, ...] = Field(description="Of the picture")


class Progress(BaseModel):
    """All that changes in a campaign besides its search and its arrays."""

    identity: str
    clean: tuple[str, ...] = ()
    clean_score: float = 0.0
    curve: list[CurvePoint] = Field(default_factory=list)
    reached: dict[Goal, Reached] = Field(default_factory=dict)
    generations: int = 0
    idle: int = 0
    repeats: int = 1
    evaluations: int = 0
    queries: int = 0
    spent: int = 0
    answers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    ended: Ended | None = None


@dataclass(frozen=True, kw_only=True)
class CampaignResult:
    """What a campaign has found, at its end or at any time before.

    Attributes:
        arm, title: which arm it was.
        sparse: whether it changes at most `pixels` pixels; the others change all.
        guided: whether attention said where; False as well where there was none.
        pixels: most that may change: k, or all.
        bound: most that a channel of them may change by.
        seed: that was asked for.
        clean: captions of the clean picture, in the order they were asked for.
        deterministic: whether these are equal; else each score is a mean of `repeats` captions.
        clean_score: of the clean picture.
        picture: the first that reached the goal to stop at, or else the one with the lowest score; the clean picture
            where none is better.
        png: that picture, lossless.
        captions, score: of that picture.
        distances: from the clean picture.
        reached: the first picture of each goal that was reached.
        curve: scores that were better than all before; the first is that of the clean picture.
        evaluations: pictures that the search asked about.
        queries: pictures that were answered, clean ones and repeats included.
        spent: of the budget, further tries of the target included.
        generations: of the search.
        ended: why; None where it was stopped.
    """

    arm: str
    title: str
    sparse: bool
    guided: bool
    pixels: int
    bound: int
    seed: int
    clean: Sequence[str]
    deterministic: bool
    repeats: int
    clean_score: float
    picture: NDArray[np.uint8]
    png: bytes
    captions: Sequence[str]
    score: float
    distances: Distances
    reached: Mapping[Goal, Reached]
    curve: Sequence[CurvePoint]
    evaluations: int
    queries: int
    spent: int
    generations: int
    ended: Ended | None

    def best_after(self, queries: int) -> CurvePoint:
        """The best score after so many queries; that of the clean picture at first."""
        return next((point for point in reversed(self.curve) if point.queries <= queries), self.curve[0])
