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
    Comparison(MAIN, ("A", "B", "C", "F", "I", "K"), "Where pixels are"),
    *(Comparison(Setting(*one), _BASELINES) for one in ((0.75, 16), (2.0, 40), (0.25, 40), (2.0, 16), (0.25, 16))),
)
"""The first is the main one, of as many seeds as asked for; others may have fewer."""

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
    """All of them, each once: the main comparison by seed, and after its first seed the other captioners.

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


def _rounds(
    victims: tuple[str, ...], seeds: int, further_seeds: int
) -> Iterator[tuple[str, str, tuple[str, ...], Setting, int]]:
    first, (main, *others) = victims[0], COMPARISONS
    for seed in range(seeds):
        yield first, first, main.arms, main.setting, seed
        for other in victims[1:] if seed < further_seeds else ():
            yield other, other, ELSEWHERE, MAIN, seed
            yield other, first, ("A",), MAIN, seed
    for seed in range(further_seeds):
        for comparison in others:
            yield first, first, comparison.arms, comparison.setting, seed
