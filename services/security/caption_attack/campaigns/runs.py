"""The runs of an attack, one campaign each, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.searching.arms import ARMS


@dataclass(frozen=True, slots=True)
class Run:
    """One arm with one seed on one picture.

    Attributes:
        picture: its index.
        arm: letter.
        seed: of positions and search.
    """

    picture: int
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"picture-{self.picture + 1}-{self.arm}-seed-{self.seed}"


def runs_of(options: AttackOptions, pictures: int) -> list[Run]:
    """All runs, picture by picture, so that an attack that is stopped has compared arms on some of them."""
    return [
        Run(picture, arm, seed) for picture in range(pictures) for seed in options.all_seeds for arm in options.arms
    ]


def needs_attention(options: AttackOptions) -> bool:
    """Whether an arm asks where the captioner looks."""
    return any(ARMS[arm].uses_attention for arm in options.arms)
