"""What an attack does: the one description that requests, cost, job and report share."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from services.security.caption_attack.campaigns.defences import Defence
from services.security.caption_attack.searching.objectives import Fitness, Goal

_FITNESS: Final[dict[Goal, Fitness]] = {
    "caption_differs": "bleu4",
    "content_lost": "content_words",
    "score_halved": "bleu4",
    "target_word": "target_word",
}


class AttackOptions(BaseModel):
    """What an attack does; arguments of its job.

    Attributes:
        model: a captioner of the fleet, if it is the target; None for the default one.
        endpoint: a registered captioner, if it is the target.
        guide: a captioner of the fleet that says where to look, for an endpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None
    endpoint: str | None
    guide: str | None
    beams: int
    most_words: int
    goal: Goal
    target: str | None
    arms: tuple[str, ...]
    queries: int
    budget: int | None
    pixels_percent: float
    bound: int
    first_seed: int
    seeds: int
    stop_at_goal: bool
    defences: tuple[Defence, ...]
    probes: int
    longest_side: int

    @property
    def fitness(self) -> Fitness:
        """What is made small on the way to the goal."""
        return _FITNESS[self.goal]

    @property
    def all_seeds(self) -> range:
        """Every seed."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def pixels(self, height: int, width: int) -> int:
        """How many pixels of a picture may change: k, at least one."""
        return max(1, round(self.pixels_percent / 100 * height * width))
