"""Weighted k-means: Lloyd's steps from several starts drawn by k-means++ (Arthur and Vassilvitskii 2007)."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Points = NDArray[np.float64]

_STARTS, _STEPS = 10, 300


def kmeans(points: Points, weights: NDArray[np.float64], clusters: int, *, seed: int) -> NDArray[np.intp]:
    """The cluster 0..clusters-1 of each point, the best of ten starts.

    Args:
        points: (n, d), n >= clusters.
        weights: > 0, (n,).
        clusters: how many, at least 1; fewer are used where fewer points differ.
        seed: the same seed gives the same clusters.

    Raises:
        ValueError: fewer points than clusters.
    """
    if not 1 <= clusters <= len(points):
        raise ValueError(f"{clusters} clusters of {len(points)} points")
    random = np.random.default_rng(seed)
    runs = [_lloyd(points, weights, _spread(points, weights, clusters, random)) for _ in range(_STARTS)]
    return min(runs, key=lambda run: run[0])[1]


def _spread(points: Points, weights: NDArray[np.float64], clusters: int, random: np.random.Generator) -> Points:
    """First centres: each drawn with the weighted square of its distance to those before."""
    chosen = [int(random.choice(len(points), p=weights / weights.sum()))]
    while len(chosen) < clusters:
        mass = weights * scipy.spatial.distance.cdist(points, points[chosen], "sqeuclidean").min(axis=1)
        mass = mass if mass.sum() > 0 else weights
        chosen.append(int(random.choice(len(points), p=mass / mass.sum())))
    return points[chosen]


def _lloyd(points: Points, weights: NDArray[np.float64], centres: Points) -> tuple[float, NDArray[np.intp]]:
    """The weighted sum of squares that is reached, and the clusters. A cluster without points keeps its centre."""
    nearest = np.full(len(points), -1, np.intp)
    for _ in range(_STEPS):
        distances = scipy.spatial.distance.cdist(points, centres, "sqeuclidean")
        found = distances.argmin(axis=1)
        if (found == nearest).all():
            break
        nearest = found
        mass = np.bincount(nearest, weights=weights, minlength=len(centres))[:, None]
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, weights[:, None] * points)
        centres = np.divide(sums, mass, out=centres.copy(), where=mass > 0)
    return float((weights * distances[np.arange(len(points)), nearest]).sum()), nearest
