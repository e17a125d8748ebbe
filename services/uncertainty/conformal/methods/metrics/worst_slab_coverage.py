"""Worst-slab coverage: the slab of feature space in which sets hold their label least often (Cauchois et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.scores import Values

SEARCHED_ITEMS = 2000
"""Most items that a slab is looked for on; the time grows with their square, and all others measure."""
DIRECTIONS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """The items with low <= direction . features <= high.

    Attributes:
        direction: of length 1, (F,).
        low: smallest product.
        high: largest product.
        coverage: of the items that the slab was found on; biased low.
    """

    direction: Values
    low: float
    high: float
    coverage: float

    def contains(self, features: Values) -> NDArray[np.bool_]:
        """Which items (N, F) lie in it, (N,)."""
        product = features @ self.direction
        inside: NDArray[np.bool_] = (product >= self.low) & (product <= self.high)
        return inside


def worst_slab_coverage(
    features: Values,
    covered: NDArray[np.bool_],
    *,
    seed: int,
    mass: float = 0.1,
    directions: int = DIRECTIONS,
    search_share: float = 0.25,
) -> float | None:
    """Coverage in the worst slab: found on a part of the items, measured on the others, so that it is not biased.

    Args:
        features: float64 (N, F).
        covered: whether each item's set holds its label, (N,).
        seed: of the directions and of the division.
        mass: smallest share of the items in a slab, in (0, 1).
        directions: how many are tried, drawn evenly from the sphere.
        search_share: of the items that the slab is searched on, in (0, 1).

    Returns:
        Coverage, None where no measured item lies in the slab.

    Raises:
        ValueError: shapes or shares that do not fit, or too few items.
    """
    if not (0 < mass < 1 and 0 < search_share < 1 and directions > 0):
        raise ValueError("mass and search share must lie in (0, 1), and a direction is needed")
    if features.ndim != 2 or covered.shape != features.shape[:1] or len(covered) < 4:
        raise ValueError(f"features {features.shape} and {covered.shape} hits do not fit, or are fewer than 4")
    random = np.random.default_rng(seed)
    order = random.permutation(len(covered))
    searched = min(SEARCHED_ITEMS, max(2, round(search_share * len(covered))))
    search, measure = order[:searched], order[searched:]
    slab = worst_slab(features[search], covered[search], random=random, mass=mass, directions=directions)
    inside = measure[slab.contains(features[measure])]
    return float(covered[inside].mean()) if len(inside) else None


def worst_slab(
    features: Values, covered: NDArray[np.bool_], *, random: np.random.Generator, mass: float, directions: int
) -> Slab:
    """The slab of at least a share `mass` of the items with the lowest coverage, over random directions."""
    best: Slab | None = None
    for _ in range(directions):
        check_interruption()
        direction: Values = random.normal(size=(1, features.shape[1]))[0]
        direction /= np.linalg.norm(direction)
        product = features @ direction
        order = np.argsort(product, kind="stable")
        first, last, share = lowest_mean(covered[order], max(1, round(mass * len(covered))))
        if best is None or share < best.coverage:
            best = Slab(direction, float(product[order[first]]), float(product[order[last]]), share)
    if best is None:
        raise ValueError("a direction is needed")
    return best


def lowest_mean(values: NDArray[np.bool_], shortest: int) -> tuple[int, int, float]:
    """First and last place of the run of at least `shortest` values with the lowest mean, and that mean.

    A run of twice the length or more is two runs that are long enough, one of which has no higher mean; so only lengths
    below twice the shortest are tried.
    """
    sums = np.concatenate([[0], np.cumsum(values)])
    best = (0, len(values) - 1, float(np.mean(values)))
    for length in range(shortest, min(2 * shortest, len(values) + 1)):
        totals = sums[length:] - sums[:-length]
        first = int(totals.argmin())
        mean = float(totals[first] / length)
        if mean < best[2]:
            best = first, first + length - 1, mean
    return best
