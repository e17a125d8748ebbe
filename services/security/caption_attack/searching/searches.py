"""Searches that differential evolution is compared with, on the same budget and by the same protocol.

One child at a time is what their authors have. With several children of one parent, which are scored as one batch, the
best of them takes its place, and a captioner over HTTP is asked less often for the same number of captions.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.searching.perturbations import (
    CHANNELS,
    Genes,
    GeneSpace,
    MovingPixels,
    WholePicture,
)
from services.security.caption_attack.searching.search import Scores, Search, SearchState

_SCALE: Final = 10_000
"""Steps of the schedules, which are stretched to the budget."""
_SPARSE_RS: Final = ((0, 1), (50, 2), (200, 4), (500, 5), (1000, 6), (2000, 8), (4000, 10), (6000, 12), (8000, 15))
_SPARSE_RS_LAST: Final = 20
_SQUARE: Final = ((10, 1), (50, 2), (200, 4), (500, 8), (1000, 16), (2000, 32), (4000, 64), (6000, 128), (8000, 256))
_SQUARE_LAST: Final = 512


def scheduled_share(first: float, step: int, steps: int, table: Sequence[tuple[int, int]], last: int) -> float:
    """A share that falls in steps: `first` over the divisor of the first line whose step is not yet passed.

    Args:
        first: share at the beginning.
        step: from 0.
        steps: all there will be.
        table: last step, of 10,000, and divisor, ascending.
        last: divisor after the table.
    """
    at = step * _SCALE // max(1, steps)
    return first / next((divisor for until, divisor in table if at <= until), last)


class RandomDraws(Search):
    """The best of independent draws.

    Args:
        space: ranges of the genes, each drawn evenly.
        seed: of all random numbers.
        batch: draws that are scored together.
        draws: after which it ends; None for no end.
    """

    def __init__(self, space: GeneSpace, *, seed: int, batch: int = 20, draws: int | None = None) -> None:
        super().__init__(space, seed=seed)
        self._batch, self._draws, self._drawn = batch, draws, 0

    @property
    def finished(self) -> bool:
        """Whether there were as many draws as asked for."""
        return self._draws is not None and self._drawn >= self._draws

    def ask(self, room: int) -> Genes:
        """The next draws; they do not depend on how many are asked for at once."""
        count = min(room, self._batch, room if self._draws is None else self._draws - self._drawn)
        return np.concatenate([self._draw(self._rng(draw)) for draw in range(self._drawn, self._drawn + count)])

    def _draw(self, rng: np.random.Generator) -> Genes:
        """(1, genes)."""
        return self._draw_evenly(rng, 1)

    def _learn(self, genes: Genes, scores: Scores) -> None:
        self._drawn += len(scores)

    def state(self) -> SearchState:
        """As `Search.state`."""
        return super().state() | {"drawn": np.array(self._drawn, np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """As `Search.restore`."""
        super().restore(state)
        self._drawn = int(state["drawn"])


class GaussianNoise(RandomDraws):
    """The best of independent noises over the whole picture, all of one L2 norm. Not sparse.

    Args:
        space: the whole picture; deltas are clipped to its bound.
        l2: norm of the rounded deltas that is wanted; within half a percent wherever whole numbers allow.
        seed: of all random numbers.
        batch: draws that are scored together.
    """

    def __init__(self, space: WholePicture, *, l2: float, seed: int, batch: int = 20) -> None:
        super().__init__(space, seed=seed, batch=batch)
        self._l2 = l2

    def _draw(self, rng: np.random.Generator) -> Genes:
        noise, limit = rng.standard_normal(len(self.space.upper)), float(self.space.upper[0])
        low, high, scale = 0.0, 4 * limit + 1, self._l2 / math.sqrt(noise.size)
        for _ in range(24):  # the norm of rounded noise grows with its scale, though not evenly
            deltas = np.clip(np.rint(noise * scale), -limit, limit)
            norm = math.sqrt(float(np.sum(deltas * deltas)))  # linalg.norm wakes BLAS threads, which takes longer
            if abs(norm - self._l2) <= 0.005 * self._l2:
                break
            low, high = (scale, high) if norm < self._l2 else (low, scale)
            guess = scale * self._l2 / max(norm, 1e-9)
            scale = guess if low < guess < high else (low + high) / 2
        return deltas.astype(np.int32).reshape(1, -1)


class _ParentSearch(Search):
    """One parent and its children; the best child takes its place if it is as good or better.

    Args:
        space: ranges of the genes.
        seed: of all random numbers.
        queries: all that there will be, to which a schedule is stretched.
        children: scored together.
    """

    def __init__(self, space: GeneSpace, *, seed: int, queries: int, children: int = 1) -> None:
        super().__init__(space, seed=seed)
        self._queries, self._children = queries, children
        self._parent: Genes | None = None
        self._score = np.inf
        self._step = 0

    def ask(self, room: int) -> Genes:
        """The first parent, then children."""
        if self._parent is None:
            return self._first(self._rng(0))[None]
        steps = range(self._step, self._step + min(room, self._children))
        return np.stack([self._mutate(self._parent, step, self._rng(step)) for step in steps])

    @abstractmethod
    def _first(self, rng: np.random.Generator) -> Genes:
        """(genes,)."""

    @abstractmethod
    def _mutate(self, parent: Genes, step: int, rng: np.random.Generator) -> Genes:
        """A child, (genes,), another array than its parent."""

    def _learn(self, genes: Genes, scores: Scores) -> None:
        lowest = int(np.argmin(scores))
        if scores[lowest] <= self._score:
            self._parent, self._score = genes[lowest].copy(), float(scores[lowest])
        self._step += len(scores)

    def state(self) -> SearchState:
        """As `Search.state`, with the parent."""
        saved = super().state() | {"step": np.array(self._step, np.int64), "score": np.array(self._score)}
        return saved if self._parent is None else saved | {"parent": self._parent.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """As `Search.restore`."""
        super().restore(state)
        self._step, self._score = int(state["step"]), float(state["score"])
        self._parent = state["parent"].copy() if "parent" in state else None


class RandomSearch(_ParentSearch):
    """A (1+1) search at fixed positions: each step draws the deltas of a few pixels anew.

    How many is Sparse-RS's schedule: at first `share` of them, and fewer and fewer.

    Args:
        space: RGB deltas of fixed pixels.
        seed: of all random numbers.
        queries: all that there will be.
        children: scored together.
        share: of pixels that the first step changes.
    """

    def __init__(self, space: GeneSpace, *, seed: int, queries: int, children: int = 1, share: float = 0.8) -> None:
        super().__init__(space, seed=seed, queries=queries, children=children)
        self._share = share

    def _first(self, rng: np.random.Generator) -> Genes:
        return self._draw_evenly(rng, 1).reshape(-1)

    def _mutate(self, parent: Genes, step: int, rng: np.random.Generator) -> Genes:
        pixels = len(parent) // CHANNELS
        share = scheduled_share(self._share, step, self._queries, _SPARSE_RS, _SPARSE_RS_LAST)
        changed = rng.permutation(pixels)[: max(1, int(share * pixels))]
        child, fresh = parent.copy().reshape(pixels, CHANNELS), self._draw_evenly(rng, 1).reshape(pixels, CHANNELS)
        child[changed] = fresh[changed]
        return child.reshape(-1)


class SparseRandomSearch(_ParentSearch):
    """Sparse-RS for L0 (Croce et al. 2022): each step moves a few of the k pixels to free places and paints them.

    As there, a channel is changed by all that is allowed or by its negative; their colours are corners of the whole RGB
    cube, ours of the cube that the bound leaves around the clean pixel, and ties are accepted. Pixle (Pomponi et al.
    2022) rather copies pixels of the picture to other places, which keeps no bound, and is not reproduced.

    Args:
        space: k pixels that may move among candidates.
        seed: of all random numbers.
        queries: all that there will be.
        children: scored together.
        share: of pixels that the first step moves; the default of their code.
    """

    def __init__(self, space: MovingPixels, *, seed: int, queries: int, children: int = 1, share: float = 0.8) -> None:
        super().__init__(space, seed=seed, queries=queries, children=children)
        self._places, self._count, self._share = space.candidates.count, space.count, share
        self._bound = int(space.upper[-1])

    def _first(self, rng: np.random.Generator) -> Genes:
        return self._paint(rng, rng.permutation(self._places)[: self._count]).reshape(-1)

    def _mutate(self, parent: Genes, step: int, rng: np.random.Generator) -> Genes:
        child = parent.copy().reshape(self._count, 1 + CHANNELS)
        share = scheduled_share(self._share, step, self._queries, _SPARSE_RS, _SPARSE_RS_LAST)
        moved = rng.permutation(self._count)[: max(1, int(share * self._count))]
        free = np.ones(self._places, bool)
        free[child[:, 0]] = False
        places = rng.permutation(np.flatnonzero(free))[: len(moved)]
        child[moved[: len(places)]] = self._paint(rng, places)
        stays = moved[len(places) :]  # no free place is left for these: they are painted anew where they are
        child[stays] = self._paint(rng, child[stays, 0])
        return child.reshape(-1)

    def _paint(self, rng: np.random.Generator, places: NDArray[Any]) -> Genes:
        """(n, 4)."""
        signs = 2 * rng.integers(2, size=(len(places), CHANNELS)) - 1
        return np.concatenate([places[:, None], self._bound * signs], axis=1).astype(np.int32)


class SquareSearch(_ParentSearch):
    """Square Attack for L-infinity (Andriushchenko et al. 2020) on the score of a caption in place of a margin.

    It begins with stripes, of one column each, and then paints squares; deltas are the bound or its negative in each
    channel of each pixel of the picture, so it changes all of them and is no sparse attack. Ties are accepted, since
    captions change in steps.

    Args:
        space: the whole picture.
        seed: of all random numbers.
        queries: all that there will be.
        children: scored together.
        share: of pixels in the first square; that of the authors on ImageNet.
    """

    def __init__(self, space: WholePicture, *, seed: int, queries: int, children: int = 1, share: float = 0.05) -> None:
        super().__init__(space, seed=seed, queries=queries, children=children)
        self._share, self._size = share, space.picture.shape[:2]
        self._bound = int(space.upper[0])

    def _first(self, rng: np.random.Generator) -> Genes:
        height, width = self._size
        signs = 2 * rng.integers(2, size=(1, width, CHANNELS)) - 1
        return np.repeat(self._bound * signs, height, axis=0).reshape(-1).astype(np.int32)

    def _mutate(self, parent: Genes, step: int, rng: np.random.Generator) -> Genes:
        height, width = self._size
        share = scheduled_share(self._share, step, self._queries, _SQUARE, _SQUARE_LAST)
        side = int(np.clip(round(np.sqrt(share * height * width)), 1, min(height, width)))
        top, left = rng.integers(height - side, endpoint=True), rng.integers(width - side, endpoint=True)
        child = parent.copy().reshape(height, width, CHANNELS)
        square = child[top : top + side, left : left + side]
        deltas = self._bound * (2 * rng.integers(2, size=CHANNELS) - 1)
        square[...] = -deltas if (square == deltas).all() else deltas  # a child that equals its parent is no step
        return child.reshape(-1)
