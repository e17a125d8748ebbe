"""Differential evolution of integer genes (Storn and Price 1997), rand/1/bin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.searching.perturbations import Genes, GeneSpace
from services.security.caption_attack.searching.search import Scores, Search, SearchState

LEAST_POPULATION: Final = 4
"""A member and three others."""

CROSSOVERS: Final = (1.0, 0.9, 0.5)
"""Crossover rates that are compared; the first is that of the published attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionSettings:
    """How a population evolves.

    Attributes:
        population: members, 4 at least.
        weight: F, of the difference of two members.
        crossover: CR, share of genes that a trial has from its mutant, in [0, 1]; one gene is so in any case.
        generations: after the first one; None for no end.
        stall: generations without a better best after which it ends; None for never.
        release_faithful: as `DifferentialEvolution` says.
    """

    population: int = 20
    weight: float = 0.5
    crossover: float = 1.0
    generations: int | None = None
    stall: int | None = None
    release_faithful: bool = False

    def __post_init__(self) -> None:
        if self.population < LEAST_POPULATION or not 0 <= self.crossover <= 1 or not np.isfinite(self.weight):
            raise ValueError("a population has 4 members at least, a crossover rate from 0 to 1 and a finite weight")


class DifferentialEvolution(Search):
    """A population in which each member may be replaced by a trial.

    Mutants are p_a + F (p_b - p_c), rounded and clipped to the ranges of the genes; a, b, c differ from each other and
    from the member that the trial may replace. A trial replaces it if it is as good or better, since captions change
    in steps and a population that waits for a better score stands still.

    With `release_faithful` two faults of the code published with AICAttack (commit c4034bb) are reproduced, so that
    what they cost can be measured:

    - the population is never updated: all mutants combine members of the first generation, and what looks like
      evolution is the best of random combinations;
    - deltas of mutants are clipped at 0 from below, the bounds of colours being taken for those of deltas: from the
      first mutants on pixels only become brighter. There is no crossover.

    What would break the bounds that all searches keep is not reproduced: mutants of up to twice the bound, and sums
    that wrap around at 256.

    Args:
        space: ranges of the genes.
        seed: of all random numbers.
        settings: of the evolution.
    """

    def __init__(self, space: GeneSpace, *, seed: int, settings: EvolutionSettings | None = None) -> None:
        super().__init__(space, seed=seed)
        self.settings = settings or EvolutionSettings()
        self.population = self._draw_evenly(self._rng(0), self.settings.population)
        self.scores: Scores = np.full(self.settings.population, np.inf)
        self._stalled = 0
        self._mutated = 0

    @property
    def finished(self) -> bool:
        """Whether there were as many generations as asked for, or as many without a better best."""
        settings = self.settings
        enough = settings.generations is not None and self._mutated >= settings.generations
        return (enough and bool(np.isfinite(self.scores).all())) or self.is_stalled

    @property
    def is_stalled(self) -> bool:
        """Whether too many generations brought nothing better."""
        return self.settings.stall is not None and self._stalled >= self.settings.stall

    def ask(self, room: int) -> Genes:
        """Members that have no score yet, or one trial of each member, of the first ones if there is less room."""
        waiting = np.flatnonzero(np.isinf(self.scores))
        if len(waiting):
            return self.population[waiting[:room]]
        return self._trials()[:room]

    def _trials(self) -> Genes:
        settings, members, genes = self.settings, *self.population.shape
        rng = self._rng(1, self._mutated)
        a, b, c = _three_others(rng, members)
        mutants = self.population[a] + settings.weight * (self.population[b] - self.population[c])
        lower = np.maximum(self.space.lower, 0) if settings.release_faithful else self.space.lower
        trials = np.clip(np.rint(mutants), lower, self.space.upper).astype(np.int32)
        if settings.crossover == 1 or settings.release_faithful:
            return trials
        crossed = rng.random((members, genes)) < settings.crossover
        crossed[np.arange(members), rng.integers(genes, size=members)] = True
        return np.where(crossed, trials, self.population)

    def tell(self, genes: Genes, scores: Scores) -> None:
        """As `Search.tell`."""
        before = None if self.best is None else self.best.score
        first = bool(np.isinf(self.scores).any())
        super().tell(genes, scores)
        if not first:
            self._mutated += 1
            assert self.best is not None  # noqa: S101 - it was just told
            self._stalled = 0 if before is None or self.best.score < before else self._stalled + 1

    def _learn(self, genes: Genes, scores: Scores) -> None:
        waiting = np.flatnonzero(np.isinf(self.scores))
        if len(waiting):
            self.scores[waiting[: len(scores)]] = scores
            return
        better = np.flatnonzero(scores <= self.scores[: len(scores)])
        self.scores[better] = scores[better]
        if not self.settings.release_faithful:
            self.population[better] = genes[better]

    def state(self) -> SearchState:
        """As `Search.state`, with the population and its scores."""
        counts = np.array([self._mutated, self._stalled], np.int64)
        return super().state() | {
            "population": self.population.copy(),
            "scores": self.scores.copy(),
            "counts": counts,
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """As `Search.restore`."""
        super().restore(state)
        self.population, self.scores = state["population"].copy(), state["scores"].copy()
        self._mutated, self._stalled = (int(count) for count in state["counts"])


def _three_others(rng: np.random.Generator, members: int) -> tuple[NDArray[np.intp], ...]:
    """For each member three different others, (members,) each."""
    keys = rng.random((members, members))
    np.fill_diagonal(keys, 2.0)
    return tuple(np.argsort(keys, axis=1)[:, :3].T)
