"""All experiments in the order in which they are done: whatever exists at any time compares all searches fairly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

QUERIES: Final = 121
"""Of each run: a clean picture and six populations of 20, as the paper's five generations have them."""


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Searches that are compared with the first of them.

    Attributes:
        setting: how much they may change.
        arms: letters.
        title: of their table.
    """

    setting: Setting
    arms: tuple[str, ...]
    title: str = ""

    def __str__(self) -> str:
        return f"{self.title}{self.title and ': '}{self.setting}"


MAIN: Final = Setting(0.75, 40)
_BASELINES: Final = ("A", "C", "D", "G", "L", "M", "N", "O")

COMPARISONS: Final = (
    Comparison(MAIN, ("A", "C", "D", "E", "G", "H", "L", "M", "N", "O", "P")),
    *(Comparison(Setting(*one), _BASELINES) for one in ((0.75, 16), (2.0, 40), (0.25, 40))),
    Comparison(MAIN, ("A", "B", "C", "F", "I", "K"), "Where pixels are"),
    *(Comparison(Setting(*one), _BASELINES) for one in ((2.0, 16), (0.25, 16))),
)
"""The first is the main one, of as many seeds as asked for; others may have fewer."""

_EARLY: Final = 4
"""Comparisons that come before further seeds of the main one: three numbers of pixels and two bounds."""

ELSEWHERE: Final = ("A", "C")
"""Searches on other captioners, beside A with the attention of the first."""

DEFENDED: Final = ("A", "N", "O")
"""Searches whose pictures are tried behind filters, in the main setting."""


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

    @property
    def shown(self) -> bool:
        """Whether what it finds is shown to other captioners."""
        return self.arm == "A" and self.setting == MAIN and self.guide == self.victim

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def setting_of(arm: str, setting: Setting) -> Setting:
    """The setting that a search is run in for the sake of another one, where it does the same in both.

    One pixel of any colour knows neither number of pixels nor bound, and squares know no number of pixels.
    """
    if arm == "G":
        return MAIN
    return Setting(MAIN.percent, setting.bound) if arm == "O" else setting


def experiments(
    victims: tuple[str, ...], *, photographs: int, seeds: int, further_seeds: int = 1
) -> Iterator[Experiment]:
    """All of them, each once; the most telling come first.

    Args:
        victims: captioners; the first is attacked in all settings.
        photographs: of the test part.
        seeds: of the main comparison.
        further_seeds: of all others, and of the other captioners.
    """
    seen = set()
    for victim, guide, arms, setting, seed in _rounds(victims, seeds, further_seeds):
        for photograph in range(photographs):
            for arm in arms:
                one = Experiment(victim, guide, arm, setting_of(arm, setting), seed, photograph)
                if one not in seen:
                    seen.add(one)
                    yield one


_Round = tuple[str, str, tuple[str, ...], Setting, int]
"""Victim, guide, arms, setting and seed."""


def _rounds(victims: tuple[str, ...], seeds: int, further_seeds: int) -> Iterator[_Round]:
    first = victims[0]

    def compare(comparison: Comparison, seed: int) -> _Round:
        return first, first, comparison.arms, comparison.setting, seed

    yield compare(COMPARISONS[0], 0)
    for other in victims[1:]:
        yield from _elsewhere(other, first, 0)
    yield from (compare(one, 0) for one in COMPARISONS[1:_EARLY])
    yield from (compare(COMPARISONS[0], seed) for seed in range(1, seeds))
    yield from (compare(one, 0) for one in COMPARISONS[_EARLY:])
    for seed in range(1, further_seeds):
        yield from (compare(one, seed) for one in COMPARISONS[1:])
        for other in victims[1:]:
            yield from _elsewhere(other, first, seed)


def _elsewhere(other: str, first: str, seed: int) -> Iterator[_Round]:
    """The attack on another captioner: where that one looks, anywhere, and where the first one looks."""
    yield other, other, ELSEWHERE, MAIN, seed
    yield other, first, ("A",), MAIN, seed
