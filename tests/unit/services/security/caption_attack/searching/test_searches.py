"""Searches that evolution is compared with: protocol, bounds, resumption, and what each of them changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from services.security.caption_attack.searching.candidates import choose_positions
from services.security.caption_attack.searching.evolution import DifferentialEvolution, EvolutionSettings
from services.security.caption_attack.searching.perturbations import (
    Genes,
    MovingPixels,
    OnePixel,
    PixelDeltas,
    WholePicture,
)
from services.security.caption_attack.searching.search import Scores, Search
from services.security.caption_attack.searching.searches import (
    _SPARSE_RS,
    _SPARSE_RS_LAST,
    _SQUARE,
    _SQUARE_LAST,
    GaussianNoise,
    RandomDraws,
    RandomSearch,
    SparseRandomSearch,
    SquareSearch,
    scheduled_share,
)
from tests.unit.services.security.caption_attack.example_captioners import noise_picture

PICTURE = noise_picture(9, 12)
QUERIES = 120


def fixed(pixels: int = 6) -> PixelDeltas:
    positions = choose_positions("uniform", maps=None, size=PICTURE.shape[:2], count=pixels, seed=1)
    return PixelDeltas(PICTURE, positions, bound=40)


def moving(places: int = 108, pixels: int = 6) -> MovingPixels:
    candidates = choose_positions("uniform", maps=None, size=PICTURE.shape[:2], count=places, seed=1)
    return MovingPixels(PICTURE, candidates, count=pixels, bound=40)


def whole() -> WholePicture:
    return WholePicture(PICTURE, bound=8)


MAKE: dict[str, Callable[[int], Search]] = {
    "draws": lambda seed: RandomDraws(fixed(), seed=seed, batch=7),
    "single draw": lambda seed: RandomDraws(fixed(), seed=seed, draws=1),
    "evolution": lambda seed: DifferentialEvolution(fixed(), seed=seed),
    "release": lambda seed: DifferentialEvolution(
        fixed(), seed=seed, settings=EvolutionSettings(release_faithful=True)
    ),
    "one pixel": lambda seed: DifferentialEvolution(OnePixel(PICTURE), seed=seed),
    "random search": lambda seed: RandomSearch(fixed(), seed=seed, queries=QUERIES),
    "random search of children": lambda seed: RandomSearch(fixed(), seed=seed, queries=QUERIES, children=5),
    "sparse": lambda seed: SparseRandomSearch(moving(), seed=seed, queries=QUERIES),
    "noise": lambda seed: GaussianNoise(whole(), l2=100, seed=seed),
    "squares": lambda seed: SquareSearch(whole(), seed=seed, queries=QUERIES),
}


def score(search: Search, genes: Genes) -> Scores:
    """Lower where the upper left is brighter than it was; steps, as captions have."""
    pictures = search.space.render(genes)[:, :5, :6].astype(float)
    scores: Scores = -np.round(pictures.mean(axis=(1, 2, 3)), 1)
    return scores


def play(search: Search, queries: int, trace: list[bytes] | None = None) -> None:
    spent = 0
    while spent < queries and not search.finished:
        genes = search.ask(queries - spent)
        assert 1 <= len(genes) <= queries - spent
        spent += len(genes)
        if trace is not None:
            trace.append(genes.tobytes())
        search.tell(genes, score(search, genes))


@pytest.mark.parametrize("name", MAKE)
def test_the_same_seed_asks_the_same_and_another_does_not(name: str) -> None:
    traces: list[list[bytes]] = [[], [], []]
    for trace, seed in zip(traces, (3, 3, 4), strict=True):
        play(MAKE[name](seed), 60, trace)
    assert traces[0] == traces[1] != traces[2]


@pytest.mark.parametrize("name", MAKE)
def test_a_search_restored_after_any_step_goes_on_as_if_it_had_not_stopped(name: str) -> None:
    whole_run = MAKE[name](3)
    spent, states = 0, [(0, whole_run.state())]
    while spent < 30 and not whole_run.finished:
        genes = whole_run.ask(30 - spent)
        spent += len(genes)
        whole_run.tell(genes, score(whole_run, genes))
        states.append((spent, whole_run.state()))
    for spent_before, state in states:
        resumed = MAKE[name](3)
        resumed.restore(state)
        play(resumed, 30 - spent_before)
        assert {key: value.tolist() for key, value in resumed.state().items()} == {
            key: value.tolist() for key, value in whole_run.state().items()
        }


@pytest.mark.parametrize("name", MAKE)
def test_genes_keep_their_ranges_and_the_best_is_the_best(name: str) -> None:
    search = MAKE[name](5)
    lowest, spent = np.inf, 0
    while spent < 60 and not search.finished:
        genes = search.ask(60 - spent)
        assert (genes >= search.space.lower).all()
        assert (genes <= search.space.upper).all()
        scores = score(search, genes)
        spent += len(genes)
        search.tell(genes, scores)
        lowest = min(lowest, float(scores.min()))
        assert search.best is not None
        assert search.best.score == lowest
        assert score(search, search.best.genes[None])[0] == lowest


@pytest.mark.parametrize("name", ["random search", "sparse", "squares", "evolution"])
def test_searches_that_learn_are_better_than_draws(name: str) -> None:
    draws = RandomDraws(MAKE[name](0).space, seed=0)
    learning = MAKE[name](0)
    play(draws, QUERIES)
    play(learning, QUERIES)
    assert draws.best is not None
    assert learning.best is not None
    assert learning.best.score < draws.best.score


def test_a_single_draw_is_one() -> None:
    search = MAKE["single draw"](0)
    play(search, 50)
    assert search.generation == 1
    assert search.finished


def test_draws_do_not_depend_on_how_many_are_asked_for() -> None:
    search = MAKE["draws"](0)
    assert np.array_equal(search.ask(100)[:3], search.ask(3))


@pytest.mark.parametrize("l2", [3.0, 40.0, 100.0])
def test_noise_has_the_norm_that_is_asked_for(l2: float) -> None:
    deltas = GaussianNoise(WholePicture(PICTURE, bound=40), l2=l2, seed=1).ask(4)
    assert np.linalg.norm(deltas, axis=1) == pytest.approx(l2, rel=0.2 if l2 < 10 else 0.01)


def test_noise_of_a_norm_beyond_the_bound_stays_within_it() -> None:
    deltas = GaussianNoise(whole(), l2=1e6, seed=1).ask(1)
    assert np.abs(deltas).max() == 8


def test_random_search_changes_fewer_and_fewer_pixels() -> None:
    search = RandomSearch(fixed(40), seed=0, queries=100)
    parents = []
    for step in range(100):
        parents.append(search.ask(1))
        search.tell(parents[-1], np.array([-float(step)]))
    changed = [int(np.any((one - other).reshape(40, 3), axis=1).sum()) for one, other in pairwise(parents)]
    assert changed[0] >= 7
    assert changed[-1] <= 2
    assert all(one >= other - 1 for one, other in pairwise(changed))


def test_sparse_search_keeps_k_different_pixels_of_all_that_is_allowed() -> None:
    search = SparseRandomSearch(moving(), seed=0, queries=QUERIES)
    places = set()
    for _ in range(60):
        genes = search.ask(1)
        pixels = genes.reshape(6, 4)
        assert len(set(pixels[:, 0])) == 6
        assert (np.abs(pixels[:, 1:]) == 40).all()
        places |= set(pixels[:, 0].tolist())
        search.tell(genes, score(search, genes))
    assert len(places) > 20


def test_sparse_search_without_free_places_paints_anew() -> None:
    search = SparseRandomSearch(moving(places=6), seed=0, queries=QUERIES)
    play(search, 30)
    assert search.best is not None
    assert sorted(search.best.genes.reshape(6, 4)[:, 0]) == list(range(6))


def test_squares_begin_with_stripes_and_change_one_square() -> None:
    search = SquareSearch(whole(), seed=0, queries=QUERIES, share=0.3)
    stripes = search.ask(1).reshape(9, 12, 3)
    assert (stripes == stripes[0]).all()
    assert (np.abs(stripes) == 8).all()
    search.tell(stripes.reshape(1, -1), np.array([0.0]))
    changed = np.any(search.ask(1).reshape(9, 12, 3) != stripes, axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    side = round((0.3 / 4 * 108) ** 0.5)
    assert 1 <= np.ptp(rows) + 1 <= side
    assert 1 <= np.ptp(columns) + 1 <= side


def test_shares_fall_as_the_authors_have_it() -> None:
    assert [scheduled_share(0.8, step, 10_000, _SQUARE, _SQUARE_LAST) for step in (0, 11, 201, 9000)] == [
        0.8,
        0.4,
        0.1,
        0.8 / 512,
    ]
    assert [scheduled_share(0.8, step, 100, _SPARSE_RS, _SPARSE_RS_LAST) for step in (0, 2, 100)] == [
        0.8,
        0.2,
        0.04,
    ]
