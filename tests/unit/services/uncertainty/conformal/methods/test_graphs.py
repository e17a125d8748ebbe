from __future__ import annotations

import math
from collections import deque
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from services.uncertainty.conformal.evaluation import evaluate_graphs
from services.uncertainty.conformal.evaluation.evaluate_graphs import NOISES
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.graphs import (
    Decay,
    NeighbourhoodCalibration,
    average_neighbours,
    count_hops,
    diffuse_scores,
    find_similar_nodes,
    navigate_by_similarity,
)


def graph(seed: int, nodes: int = 25, chance: float = 0.12) -> FloatArray:
    """Weights of a random graph without loops; some nodes have no neighbours."""
    random = np.random.default_rng(seed)
    links = np.triu(random.random((nodes, nodes)) < chance, k=1) * random.random((nodes, nodes))
    links[:, 0] = links[0] = 0
    return np.asarray(links + links.T, dtype=np.float64)


def naive_mean(scores: FloatArray, weights: FloatArray) -> FloatArray:
    rows = []
    for node in range(len(scores)):
        total = sum(weights[node])
        if total == 0:
            rows.append(scores[node])
            continue
        rows.append(sum(weights[node, other] * scores[other] for other in range(len(scores))) / total)
    return np.array(rows)


@given(st.integers(0, 50))
def test_scores_by_loops(seed: int) -> None:
    weights, scores = graph(seed), np.random.default_rng(seed).random((25, 4))
    edges = sparse.csr_array(weights)
    mean = naive_mean(scores, weights)
    np.testing.assert_allclose(average_neighbours(scores, edges), mean, atol=1e-12)
    np.testing.assert_allclose(diffuse_scores(scores, edges, share=0.3), 0.7 * scores + 0.3 * mean, atol=1e-12)
    alike = graph(seed + 100)
    found = navigate_by_similarity(scores, edges, sparse.csr_array(alike), by_similarity=0.2, by_edges=0.5)
    np.testing.assert_allclose(found, 0.3 * scores + 0.2 * naive_mean(scores, alike) + 0.5 * mean, atol=1e-12)


def test_a_node_without_neighbours_keeps_its_score() -> None:
    """Where its neighbours' mean is taken for 0, a lonely node has half the score that it should have."""
    scores = np.array([[0.8, 0.2], [0.4, 0.6]])
    np.testing.assert_array_equal(diffuse_scores(scores, sparse.csr_array((2, 2))), scores)


def test_similar_nodes_by_loops() -> None:
    features = np.random.default_rng(0).normal(size=(15, 3))
    features[4] = 0
    found = find_similar_nodes(features, 3).toarray()
    for node in range(15):
        cosines = {
            other: features[node] @ features[other] / (np.linalg.norm(features[node]) * np.linalg.norm(features[other]))
            for other in range(15)
            if 4 not in {node, other} and other != node
        }
        best = sorted(cosines, key=lambda other: -cosines[other])[:3]
        expected = {other: max(cosines[other], 0) for other in best}
        assert {other: found[node, other] for other in best} == pytest.approx(expected, abs=1e-12)
        assert found[node].sum() == pytest.approx(sum(expected.values()), abs=1e-12)


@given(st.integers(0, 50), st.integers(1, 4))
def test_distances_are_those_of_breadth_first_search(seed: int, limit: int) -> None:
    weights = graph(seed, chance=0.08)
    found = count_hops(sparse.csr_array(weights), limit).toarray()
    for start in range(25):
        distances, waiting = {start: 0}, deque([start])
        while waiting:
            node = waiting.popleft()
            for other in np.flatnonzero(weights[node]):
                if int(other) not in distances:
                    distances[int(other)] = distances[node] + 1
                    waiting.append(int(other))
        expected = [distances.get(node, 0) if distances.get(node, 0) <= limit else 0 for node in range(25)]
        assert found[start].tolist() == expected


@pytest.mark.parametrize("decay", Decay)
def test_neighbourhoods_by_loops(decay: Decay) -> None:
    random = np.random.default_rng(3)
    distances = count_hops(sparse.csr_array(graph(1, nodes=40, chance=0.1)), 3)
    nodes, asked = np.arange(0, 40, 2), np.arange(40)
    scores = random.random(20).round(2)
    near = NeighbourhoodCalibration(nodes=nodes, scores=scores, distances=distances, decay=decay, least=4)
    found = near.thresholds(asked, "0.2")
    weigh = {
        "uniform": lambda d: Fraction(1),
        "hyperbolic": lambda d: Fraction(1, d),
        "geometric": lambda d: 2 / Fraction(2**d),
    }
    dense = distances.toarray().astype(int)
    for node in asked:
        pairs = sorted(
            (scores[i], weigh[decay.value](int(dense[node, one]))) for i, one in enumerate(nodes) if dense[node, one]
        )
        total, mass, expected = sum(weight for _, weight in pairs) + 1, Fraction(0), math.inf
        for score, weight in pairs:
            mass += weight
            if mass >= Fraction(4, 5) * total:
                expected = score
                break
        assert found[node] == (expected if len(pairs) >= 4 else math.inf)
    assert 0 < np.isfinite(found).sum() < 40


@pytest.mark.parametrize(("least", "expected"), [(5, 0.5), (6, math.inf)])
def test_enough_labelled_nodes_must_be_near(least: int, expected: float) -> None:
    star = np.zeros((6, 6))
    star[0, 1:] = star[1:, 0] = 1
    near = NeighbourhoodCalibration(
        nodes=np.arange(1, 6),
        scores=np.array([0.3, 0.1, 0.5, 0.2, 0.4]),
        distances=count_hops(sparse.csr_array(star), 1),
        least=least,
    )
    assert near.thresholds(np.array([0]), "0.2")[0] == expected


@pytest.mark.parametrize(
    ("adjacency", "share"),
    [(sparse.csr_array((3, 3)), 0.5), (sparse.csr_array(-np.eye(2)), 0.5), (np.eye(2) * np.nan, 0.5), (np.eye(2), 1.5)],
)
def test_refusals(adjacency: object, share: float) -> None:
    with pytest.raises(ValueError, match=r"shape|weights|shares"):
        diffuse_scores(np.ones((2, 3)), adjacency, share=share)


@pytest.mark.parametrize("count", [0, 5])
def test_counts_of_similar_nodes_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        find_similar_nodes(np.ones((5, 2)), count)


def test_neighbours_give_smaller_sets_at_the_same_coverage() -> None:
    """Block models, five graphs: what the methods are for."""
    runs = [evaluate_graphs.run(NOISES["equal"], seed) for seed in range(5)]
    size = {way: np.mean([one[way]["size"] for one in runs]) for way in runs[0]}
    for way in ("APS", "DAPS", "SNAPS"):
        # One split of 750 and 750 scatters by 0.0155.
        assert np.mean([one[way]["coverage"] for one in runs]) == pytest.approx(0.9, abs=4 * 0.0155 / 5**0.5)
    assert max(size["DAPS"], size["SNAPS"]) < 0.8 * size["APS"]


def test_neighbourhoods_cover_the_worst_community() -> None:
    runs = [evaluate_graphs.run(NOISES["unequal"], seed) for seed in range(5)]
    worst = {way: np.mean([one[way]["worst community"] for one in runs]) for way in runs[0]}
    size = {way: np.mean([one[way]["size"] for one in runs]) for way in runs[0]}
    assert worst["APS"] < 0.75 < 0.8 < worst["NAPS"]
    assert size["NAPS"] < size["APS"]


def test_section_of_the_report() -> None:
    record = evaluate_graphs.measure(Path(), seeds=2)
    assert sum(line.startswith("| SNAPS |") for line in evaluate_graphs.render(record)) == 2
    assert "SNAPS" in evaluate_graphs.findings(record)[0]
