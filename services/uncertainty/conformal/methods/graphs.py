"""Conformal sets for the nodes of a graph, whose neighbours tend to have the same label.

- DAPS (Zargarbashi, Antonelli, Bojchevski, ICML 2023): scores are averaged with those of the neighbours.
- SNAPS (Song et al., NeurIPS 2024): also with those of the nodes whose features are most alike.
- NAPS (Clarkson, ICML 2023): every node is calibrated by the labelled nodes near it.

The first two change scores without looking at labels and treat all nodes alike. Where the labelled nodes are a random
part of them, the guarantee of split calibration holds as without a graph. NAPS has it only as far as nodes near each
other are exchangeable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite
from services.uncertainty.conformal.methods.levels import Level, WeightedScores

Graph = Any
"""A `scipy.sparse.csr_array`, for which SciPy has no types."""
Nodes = NDArray[np.integer[Any]]

SHARE = 0.5
THIRD = 1 / 3


class Decay(StrEnum):
    """Weight of a labelled node as a function of its distance d in steps."""

    UNIFORM = "uniform"
    """1."""
    HYPERBOLIC = "hyperbolic"
    """1 / d; TorchCP calls it linear."""
    GEOMETRIC = "geometric"
    """2^(1 - d)."""


def average_neighbours(scores: object, adjacency: Graph) -> FloatArray:
    """Mean score of the neighbours of each node, (N, K), weighted by the edges; a node that has none keeps its own.

    Args:
        scores: of all nodes and labels, (N, K), finite.
        adjacency: (N, N), weights of the edges, not negative; row i holds what node i averages over.

    Raises:
        ValueError: shapes that do not fit, or weights that are negative or not finite.
    """
    values = require_finite(scores, "scores", shape=(None, None))
    graph = _check_adjacency(adjacency, len(values))
    degrees = np.asarray(graph.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    means: FloatArray = np.divide(graph @ values, degrees, out=values.copy(), where=degrees > 0)
    return means


def diffuse_scores(scores: object, adjacency: Graph, *, share: float = SHARE) -> FloatArray:
    """DAPS: (1 - share) of the own score and a share of the neighbours' mean, (N, K).

    Args:
        scores: as for `average_neighbours`, for example APS.
        adjacency: as for `average_neighbours`.
        share: lambda of the paper, in [0, 1]; choose it on data that does not calibrate.
    """
    return navigate_by_similarity(scores, adjacency, adjacency, by_similarity=0.0, by_edges=share)


def navigate_by_similarity(
    scores: object, adjacency: Graph, similarity: Graph, *, by_similarity: float = THIRD, by_edges: float = THIRD
) -> FloatArray:
    """SNAPS: the own score, the mean over similar nodes and the mean over neighbours, mixed, (N, K).

    Args:
        scores: as for `average_neighbours`.
        adjacency: as for `average_neighbours`.
        similarity: (N, N), see `find_similar_nodes`.
        by_similarity: share of the similar nodes, >= 0.
        by_edges: share of the neighbours, >= 0; the two shares add up to at most 1.

    Raises:
        ValueError: shares other than these, or what `average_neighbours` refuses.
    """
    own = 1 - by_similarity - by_edges
    if not (by_similarity >= 0 and by_edges >= 0 and own >= -1e-12):
        raise ValueError("shares must not be negative nor add up to more than 1")
    mixed = own * require_finite(scores, "scores", shape=(None, None)) + by_edges * average_neighbours(
        scores, adjacency
    )
    return mixed + by_similarity * average_neighbours(scores, similarity) if by_similarity else mixed


def find_similar_nodes(features: object, count: int) -> Graph:
    """The graph in which each node's neighbours are those with the most similar features, weighted by the similarity.

    Args:
        features: (N, F), finite.
        count: neighbours of each node, 1 to N - 1. Similarity is the cosine; where it is not positive there is no edge.

    Raises:
        ValueError: a count out of range.
    """
    rows = require_finite(features, "features", shape=(None, None))
    if not 1 <= count < len(rows):
        raise ValueError(f"count must lie in 1 to {len(rows) - 1}, got {count}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    directions = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    chosen = np.argpartition(cosines, len(rows) - count, axis=1)[:, -count:]
    weights = np.maximum(np.take_along_axis(cosines, chosen, axis=1), 0)
    starts = np.repeat(np.arange(len(rows)), count)
    return scipy.sparse.csr_array((weights.ravel(), (starts, chosen.ravel())), shape=cosines.shape)


def count_hops(adjacency: Graph, limit: int) -> Graph:
    """Number of steps between nodes, (N, N), up to a limit; pairs that are farther apart, and nodes themselves, are 0.

    Args:
        adjacency: (N, N), an edge where it is not zero.
        limit: most steps, 1 or more.
    """
    if limit < 1:
        raise ValueError(f"limit must be 1 or more, got {limit}")
    graph = _check_adjacency(adjacency, adjacency.shape[0])
    steps = (graph != 0).astype(np.float64)
    seen = scipy.sparse.eye_array(graph.shape[0], format="csr")
    reached, distances = seen, scipy.sparse.csr_array(graph.shape, dtype=np.float64)
    for distance in range(1, limit + 1):
        ahead = ((reached @ steps) != 0).astype(np.float64)
        reached = ahead - ahead.multiply(seen)
        reached.eliminate_zeros()
        seen = seen + reached
        distances = distances + distance * reached
    return scipy.sparse.csr_array(distances)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NeighbourhoodCalibration:
    """NAPS: scores of labelled nodes, of which those near a node calibrate it.

    Attributes:
        nodes: (n,), indices of the labelled nodes.
        scores: (n,), scores of their labels, for example APS.
        distances: (N, N), see `count_hops`; its limit is how far calibration reaches.
        decay: how weights fall with the distance.
        least: labelled nodes that must be near; a node with fewer gets an infinite threshold.
    """

    nodes: Nodes
    scores: FloatArray
    distances: Graph
    decay: Decay = Decay.UNIFORM
    least: int = 50

    def thresholds(self, asked: Nodes, alpha: Level) -> FloatArray:
        """The threshold of each asked node, (m,): the weighted quantile of the labelled nodes near it.

        The node's own mass is 1, the weight of a direct neighbour, and lies at infinity. A labelled node does not
        calibrate itself.

        Args:
            asked: (m,), indices of nodes.
            alpha: miscoverage level.
        """
        near = scipy.sparse.csr_array(scipy.sparse.csr_array(self.distances[asked])[:, self.nodes])
        found = np.full(len(asked), np.inf)
        for row in range(len(asked)):
            members = slice(near.indptr[row], near.indptr[row + 1])
            chosen = near.indices[members]
            if len(chosen) and len(chosen) >= self.least:
                weighted = WeightedScores.of(self.scores[chosen], self._weights(near.data[members]))
                found[row] = weighted.quantiles(np.ones(1), alpha)[0]
        return found

    def _weights(self, distances: FloatArray) -> FloatArray:
        if self.decay is Decay.GEOMETRIC:
            return np.asarray(2.0 ** (1 - distances), dtype=np.float64)
        return 1 / distances if self.decay is Decay.HYPERBOLIC else np.ones_like(distances)


def _check_adjacency(adjacency: Graph, count: int) -> Graph:
    """The graph as CSR.

    Raises:
        ValueError: not (count, count), or a weight that is negative or not finite.
    """
    graph = scipy.sparse.csr_array(adjacency, dtype=np.float64)
    if graph.shape != (count, count):
        raise ValueError(f"the adjacency must have the shape ({count}, {count}), got {graph.shape}")
    if not (np.isfinite(graph.data) & (graph.data >= 0)).all():
        raise ValueError("weights of edges must be finite and not negative")
    return graph
