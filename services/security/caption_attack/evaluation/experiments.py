"""All experiments in the order in which they are done: whatever exists at any time compares all searches fairly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.security.caption_attack.arms import ARMS

QUERIES: Final = 121
"""Of each run: a clean picture and six populations of 20, as the paper's five generations have them."""

ALL_ARMS: Final = tuple(ARMS)
"""In the main setting."""

COMPARED_ARMS: Final = ("A", "C", "D", "E", "L", "M", "N", "O")
"""In the other settings: the attack and those that differ from it in one thing each, or change the whole picture."""

TRANSFERRED_ARMS: Final = ("A", "C", "H")
"""On captioners other than the first."""

DEFENDED: Final = ("A", "N", "O")
"""Searches whose pictures are tried behind filters, in the main setting."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How much a search may change.

    Attributes:
        percent: of the pixels.
        bound: of a channel.
    """

    percent: float
    bound: int

    def __str__(self) -> str:
        return f"{self.percent:g} % of pixels by {self.bound}"


MAIN: Final = Setting(0.75, 40)
SETTINGS: Final = (
    MAIN,
    Setting(0.75, 16),
    Setting(2.0, 40),
    Setting(0.25, 40),
    Setting(2.0, 16),
    Setting(0.25, 16),
)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One run of one search on one photograph.

    Attributes:
        victim: name of the captioner that is asked.
        guide: of the captioner that says where to look; the victim, except where attention is transferred.
        arm: letter.
        setting: how much may change.
        seed: of positions and search.
        photograph: its place in the test part.
    """

    victim: str
    guide: str
    arm: str
    setting: Setting
    seed: int
    photograph: int

    @property
    def key(self) -> str:
        """Names it in the file of results."""
        percent = f"{self.setting.percent:g}"
        return f"{self.victim}/{self.guide}/{self.arm}/{percent}/{self.setting.bound}/{self.seed}/{self.photograph}"

    @property
    def defended(self) -> bool:
        """Whether what it finds is tried behind filters."""
        return self.arm in DEFENDED and self.setting == MAIN

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def experiments(victims: tuple[str, ...], *, photographs: int, seeds: int) -> Iterator[Experiment]:
    """All of them: by seed, setting, victim, photograph, and then all searches of that photograph.

    All searches and settings on the first victim; on each other one the main setting with searches A, C and H, and A
    with the attention of the first victim.
    """
    for seed in range(seeds):
        for setting in SETTINGS:
            for photograph in range(photographs):
                for arm in ALL_ARMS if setting == MAIN else COMPARED_ARMS:
                    yield Experiment(victims[0], victims[0], arm, setting, seed, photograph)
            for victim in victims[1:] if setting == MAIN else ():
                for photograph in range(photographs):
                    for arm in TRANSFERRED_ARMS:
                        yield Experiment(victim, victim, arm, setting, seed, photograph)
                    yield Experiment(victim, victims[0], "A", setting, seed, photograph)
