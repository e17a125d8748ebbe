"""Differential evolution: its invariants, and that it is as good as SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

from services.security.caption_attack.searching.candidates import choose_positions
from services.security.caption_attack.searching.evolution import CROSSOVERS, DifferentialEvolution, EvolutionSettings
from services.security.caption_attack.searching.perturbations import Genes, GeneSpace, PixelDeltas
from services.security.caption_attack.searching.search import Scores
from tests.unit.services.security.caption_attack.example_captioners import noise_picture

BOUND = 40


def pixel_space(pixels: int = 3, bound: int = BOUND) -> PixelDeltas:
    picture = noise_picture(8, 8)
    positions = choose_positions("uniform", maps=None, size=(8, 8), count=pixels, seed=0)
    return PixelDeltas(picture, positions, bound=bound)


def bowl(genes: Genes) -> Scores:
    """Least, 0, at 7, -7, 7, ..."""
    goal = np.where(np.arange(genes.shape[1]) % 2, -7, 7)
    scores: Scores = np.mean((genes - goal) ** 2, axis=1) / BOUND**2
    return scores


def evolve(search: DifferentialEvolution, asks: int, room: int = 1000) -> list[float]:
    """Best scores after each generation."""
    bests = []
    for _ in range(asks):
        genes = search.ask(room)
        search.tell(genes, bowl(genes))
        assert search.best is not None
        bests.append(search.best.score)
    return bests


def evolution(space: GeneSpace | None = None, *, seed: int = 0, **chosen: Any) -> DifferentialEvolution:
    return DifferentialEvolution(space or pixel_space(), seed=seed, settings=EvolutionSettings(**chosen))


def test_without_a_weight_and_with_full_crossover_mutants_are_members() -> None:
    search = evolution(weight=0.0)
    first = search.ask(99)
    search.tell(first, bowl(first))
    members = {row.tobytes() for row in first}
    for _ in range(3):
        trials = search.ask(99)
        assert {row.tobytes() for row in trials} <= members
        search.tell(trials, bowl(trials))


@pytest.mark.parametrize("crossover", CROSSOVERS)
def test_a_trial_has_a_gene_of_its_mutant_and_the_rate_of_crossover(crossover: float) -> None:
    search = evolution(pixel_space(60), crossover=crossover, population=30)
    search.tell(search.ask(30), np.arange(30.0))
    changed = search.ask(30) != search.population
    assert changed.any(axis=1).all()
    assert changed.mean() == pytest.approx(crossover, abs=0.05)


def test_without_crossover_one_gene_is_that_of_the_mutant() -> None:
    search = evolution(pixel_space(20), crossover=0.0)
    search.tell(search.ask(20), np.arange(20.0))
    assert ((search.ask(20) != search.population).sum(axis=1) <= 1).all()


def test_mutants_are_made_of_three_others() -> None:
    # Of four members each mutant is made of exactly the other three, in some order.
    search = evolution(pixel_space(2, bound=255), population=4)
    search.tell(search.ask(4), np.arange(4.0))
    space, members = search.space, search.population.astype(float)
    for index, trial in enumerate(search.ask(4)):
        others = [row for row in range(4) if row != index]
        possible = [
            np.clip(np.rint(members[a] + 0.5 * (members[b] - members[c])), space.lower, space.upper)
            for a in others
            for b in others
            for c in others
            if len({a, b, c}) == 3
        ]
        assert any(np.array_equal(trial, one) for one in possible)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    crossover=st.floats(0, 1),
    weight=st.floats(0, 2),
    population=st.integers(4, 12),
    faithful=st.booleans(),
    rooms=st.lists(st.integers(1, 14), min_size=1, max_size=8),
)
def test_genes_keep_their_ranges_and_the_best_never_worsens(
    seed: int, crossover: float, weight: float, population: int, faithful: bool, rooms: list[int]
) -> None:
    search = evolution(seed=seed, crossover=crossover, weight=weight, population=population, release_faithful=faithful)
    best = np.inf
    for room in rooms:
        genes = search.ask(room)
        assert 1 <= len(genes) <= min(room, population)
        assert (np.abs(genes) <= BOUND).all()
        search.tell(genes, bowl(genes))
        assert search.best is not None
        assert search.best.score <= best
        best = search.best.score
        assert (search.scores[np.isfinite(search.scores)] >= best).all()


def test_a_generation_updates_the_population_itself() -> None:
    search = evolution()
    search.tell(search.ask(20), np.ones(20))
    trials = search.ask(20)
    scores = np.where(np.arange(20) < 10, 0.5, 1.5)
    before = search.population.copy()
    search.tell(trials, scores)
    assert np.array_equal(search.population[:10], trials[:10])
    assert np.array_equal(search.population[10:], before[10:])


def test_a_trial_that_is_as_good_replaces_its_member() -> None:
    search = evolution()
    search.tell(search.ask(20), np.ones(20))
    trials = search.ask(20)
    search.tell(trials, np.ones(20))
    assert np.array_equal(search.population, trials)


def test_the_release_never_updates_its_population_and_only_brightens() -> None:
    search = evolution(release_faithful=True)
    first = search.ask(20)
    evolve(search, 4)
    assert np.array_equal(search.population, first)
    assert (search.ask(20) >= 0).all()
    assert (first < 0).any()


def test_the_release_evolves_worse_than_the_repaired_algorithm() -> None:
    repaired = [evolve(evolution(seed=seed), 40)[-1] for seed in range(5)]
    released = [evolve(evolution(seed=seed, release_faithful=True), 40)[-1] for seed in range(5)]
    assert max(repaired) < min(released) / 3


def test_it_is_as_good_as_scipy_from_the_same_population() -> None:
    # Far from the bounds: beyond them SciPy draws genes anew, and ours are clipped, as the algorithm has it.
    ours, theirs = [], []
    for seed in range(8):
        search = evolution(pixel_space(5, bound=255), seed=seed, crossover=0.9)
        search.population = np.random.default_rng(seed).integers(-BOUND, BOUND, (20, 15), np.int32, endpoint=True)
        initial = search.population.astype(float)
        ours.append(evolve(search, 31)[-1])
        theirs.append(_scipy_best(initial, seed))
    assert np.median(ours) <= 1.4 * np.median(theirs)


def _scipy_best(initial: NDArray[np.float64], seed: int) -> float:
    genes = initial.shape[1]
    found = differential_evolution(
        lambda columns: bowl(columns.T),
        [(-255, 255)] * genes,
        init=initial,
        strategy="rand1bin",
        mutation=0.5,
        recombination=0.9,
        maxiter=30,
        tol=0,
        polish=False,
        updating="deferred",
        vectorized=True,
        integrality=[True] * genes,
        rng=seed,
    )
    return float(found.fun)


def test_asking_changes_nothing() -> None:
    search = evolution()
    assert np.array_equal(search.ask(20), search.ask(20))
    search.tell(search.ask(20), np.arange(20.0))
    assert np.array_equal(search.ask(20), search.ask(20))
    assert np.array_equal(search.ask(20)[:7], search.ask(7))


def test_members_that_did_not_fit_are_scored_first() -> None:
    search = evolution()
    first = search.ask(20)
    search.tell(search.ask(13), bowl(first[:13]))
    assert np.array_equal(search.ask(99), first[13:])


def test_it_ends_after_its_generations_and_when_it_stalls() -> None:
    search = evolution(generations=3)
    evolve(search, 3)
    assert [search.finished, search.is_stalled] == [False, False]
    evolve(search, 1)
    assert [search.finished, search.is_stalled] == [True, False]
    stalled = evolution(stall=2)
    for _ in range(3):
        assert [stalled.finished, stalled.is_stalled] == [False, False]
        stalled.tell(stalled.ask(20), np.ones(20))
    assert [stalled.finished, stalled.is_stalled] == [True, True]


@pytest.mark.parametrize("wrong", [{"population": 3}, {"crossover": 1.1}, {"crossover": -0.1}, {"weight": np.nan}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="4 members"):
        EvolutionSettings(**wrong)


@pytest.mark.parametrize("scores", [[np.nan] * 20, [1.0] * 19, [np.inf] * 20])
def test_scores_that_are_no_numbers_are_refused(scores: list[float]) -> None:
    search = evolution()
    with pytest.raises(ValueError, match="one finite score"):
        search.tell(search.ask(20), np.array(scores))
