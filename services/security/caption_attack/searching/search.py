"""What all searches have in common: they are asked for genes and told the scores, and hold the best so far.

`ask` changes nothing: random numbers come from the seed and the count of what was told, so that a search asked again
gives the same genes, and one that is restored goes on as if it had never stopped.

    while not search.finished:
        genes = search.ask(budget.left)
        search.tell(genes, [score(picture) for picture in space.render(genes)])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.searching.perturbations import Genes, GeneSpace

Scores = NDArray[np.float64]
SearchState = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Candidate:
    """Genes and their score; lower is better."""

    genes: Genes
    score: float


class Search(ABC):
    """Minimises a score of integer genes.

    Args:
        space: least and greatest value of each gene.
        seed: of all random numbers.
    """

    def __init__(self, space: GeneSpace, *, seed: int) -> None:
        if seed < 0:
            raise ValueError("a seed is not negative")
        self.space, self.seed = space, seed
        self.generation = 0
        self.best: Candidate | None = None

    @property
    def finished(self) -> bool:
        """Whether it has nothing more to ask."""
        return False

    @property
    def is_stalled(self) -> bool:
        """Whether that is so because nothing better was found for long."""
        return False

    @abstractmethod
    def ask(self, room: int) -> Genes:
        """Genes to be scored, (n, genes) int32 with n from 1 to `room`; nothing changes until they are told.

        Args:
            room: most rows that can be scored, 1 at least.
        """

    def tell(self, genes: Genes, scores: Scores) -> None:
        """Learn scores.

        Args:
            genes: the first rows that `ask` gave, or all.
            scores: (n,) finite.

        Raises:
            ValueError: as many scores as rows are needed, all finite.
        """
        scores = np.asarray(scores, np.float64)
        if len(genes) == 0 or scores.shape != (len(genes),) or not np.isfinite(scores).all():
            raise ValueError("a search is told one finite score of each row of genes, and of one row at least")
        lowest = int(np.argmin(scores))
        if self.best is None or scores[lowest] < self.best.score:
            self.best = Candidate(genes[lowest].copy(), float(scores[lowest]))
        self._learn(genes, scores)
        self.generation += 1

    @abstractmethod
    def _learn(self, genes: Genes, scores: Scores) -> None:
        """Change what the next genes come from."""

    def state(self) -> SearchState:
        """All that changes, as arrays; copies."""
        saved: SearchState = {"generation": np.array(self.generation, np.int64)}
        if self.best is not None:
            saved |= {"best_genes": self.best.genes.copy(), "best_score": np.array(self.best.score)}
        return saved

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of the same search."""
        self.generation = int(state["generation"])
        self.best = None
        if "best_genes" in state:
            self.best = Candidate(state["best_genes"].copy(), float(state["best_score"]))

    def _rng(self, *numbers: int) -> np.random.Generator:
        """Random numbers of the seed and these numbers alone.

        They are a spawn key: in a list of numbers the zeros at its end would make no difference.
        """
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=numbers))

    def _draw_evenly(self, rng: np.random.Generator, count: int) -> Genes:
        """Genes from their whole ranges, (count, genes)."""
        return rng.integers(self.space.lower, self.space.upper, (count, len(self.space.lower)), np.int32, endpoint=True)
