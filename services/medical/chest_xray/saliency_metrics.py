"""How well a predicted attention map agrees with a target density, with fixated pixels, or with boxes.

Maps are arrays (h, w) of one film, all on one grid. Sums are taken in double precision. A figure that has no value,
such as the correlation with a constant map, is given the value of chance, never NaN: a constant map earns nothing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Map = NDArray[Any]
Mask = NDArray[np.bool_]

FLOOR: Final = 1e-12
"""Probability that a pixel is taken to have at least, where logarithms are taken: a soft-max in single precision gives
zeros, which would make any divergence infinite."""

_CONSTANT: Final = 1e-12
"""Standard deviation, of a map whose mean is 1, below which it counts as constant."""


def kl_divergence(target: Map, predicted: Map) -> float:
    """KL(target || predicted) in nats, at least 0 but for rounding: the saliency loss (paper sheet, sections 4 and 6).

    Args:
        target: (h, w), not negative; of any sum above 0, it is divided by.
        predicted: likewise, of the same shape.

    Raises:
        ValueError: shapes differ, or a map is no density.
    """
    wanted, found = _densities(target, predicted)
    return float(np.sum(wanted * (np.log(np.maximum(wanted, FLOOR)) - np.log(np.maximum(found, FLOOR)))))


def correlation(target: Map, predicted: Map) -> float:
    """Pearson's correlation over pixels (CC), -1 to 1; 0 where one of the maps is constant (section 10).

    Args:
        target: (h, w), not negative.
        predicted: likewise, of the same shape.

    Raises:
        ValueError: shapes differ, or a map is no density.
    """
    wanted, found = (one * one.size - 1 for one in _densities(target, predicted))
    spread = float(wanted.std() * found.std())
    if min(wanted.std(), found.std()) < _CONSTANT:
        return 0.0
    return float(np.clip(np.mean(wanted * found) / spread, -1, 1))


def histogram_similarity(target: Map, predicted: Map) -> float:
    """Sum over pixels of the smaller density (HS, also called SIM), 0 to 1; 1 of equal maps (section 6).

    Args:
        target: (h, w), not negative; of any sum above 0, it is divided by.
        predicted: likewise, of the same shape.

    Raises:
        ValueError: shapes differ, or a map is no density.
    """
    wanted, found = _densities(target, predicted)
    return float(np.minimum(wanted, found).sum())


def normalised_scanpath_saliency(fixations: Map, predicted: Map) -> float:
    """Mean over fixations of the map in standard deviations above its mean (NSS); 0 of a constant map.

    Args:
        fixations: (h, w), how often each pixel was fixated; one above 0 at least.
        predicted: (h, w), finite.

    Raises:
        ValueError: shapes differ, or nothing was fixated.
    """
    _require_alike(fixations, predicted)
    counts = np.asarray(fixations, np.float64)
    if not (np.isfinite(counts).all() and counts.min() >= 0 and counts.sum() > 0):
        raise ValueError("counts of fixations are not negative, and one is above 0")
    values = _finite(predicted)
    scale = float(values.std())
    if scale <= _CONSTANT * max(1e-300, float(np.abs(values).max())):
        return 0.0
    return float(np.sum(counts * (values - values.mean())) / (counts.sum() * scale))


def auc_judd(fixated: Mask, predicted: Map) -> float:
    """Share of pairs of a fixated and another pixel in which the fixated one has the higher value; ties count half.

    It is the area under the curve of Judd, Ehinger, Durand and Torralba (2009) with a threshold at every value, not at
    those of fixated pixels alone; 0.5 of a constant map, and where all or no pixels are fixated.

    Args:
        fixated: (h, w), pixels that were fixated or lie in a box.
        predicted: (h, w), finite.

    Raises:
        ValueError: shapes differ.
    """
    _require_alike(fixated, predicted)
    values, inside = _finite(predicted), np.asarray(fixated, bool)
    return ranked_share(values[inside], values[~inside])


def pointing_hit(inside: Mask, predicted: Map) -> float:
    """The pointing game (Zhang et al. 2018): whether the largest value lies in a box.

    Args:
        inside: (h, w), pixels in boxes.
        predicted: (h, w), finite.

    Returns:
        1 or 0; where several pixels share the largest value, the share of them that lies in a box: a constant map has
        its chance.

    Raises:
        ValueError: shapes differ.
    """
    _require_alike(inside, predicted)
    values = _finite(predicted)
    return float(np.asarray(inside, bool)[values == values.max()].mean())


def energy_inside(inside: Mask, predicted: Map) -> float:
    """Share of a density that lies in boxes (the energy-based pointing game of Wang et al. 2020), 0 to 1.

    Args:
        inside: (h, w), pixels in boxes.
        predicted: (h, w), not negative.

    Raises:
        ValueError: shapes differ, or the map is no density.
    """
    _require_alike(inside, predicted)
    return float(_density(predicted)[np.asarray(inside, bool)].sum())


def ranked_share(positives: NDArray[Any], negatives: NDArray[Any]) -> float:
    """Share of pairs in which the positive has the higher value, ties counting half: the area under the ROC curve.

    Args:
        positives: values, any shape.
        negatives: values, any shape.

    Returns:
        0 to 1; 0.5 where there are no pairs.
    """
    if positives.size == 0 or negatives.size == 0:
        return 0.5
    ordered = np.sort(negatives, axis=None)
    below = np.searchsorted(ordered, positives.ravel(), side="left")
    not_above = np.searchsorted(ordered, positives.ravel(), side="right")
    return float((below.mean() + not_above.mean()) / (2 * ordered.size))


def _densities(target: Map, predicted: Map) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _require_alike(target, predicted)
    return _density(target), _density(predicted)


def _density(values: Map) -> NDArray[np.float64]:
    found = _finite(values)
    total = float(found.sum())
    if found.min() < 0 or not total > 0:
        raise ValueError("a density is not negative, and positive somewhere")
    normalised: NDArray[np.float64] = found / total
    return normalised


def _finite(values: Map) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.size == 0 or not np.isfinite(found).all():
        raise ValueError("a map is finite and has a pixel at least")
    return found


def _require_alike(one: Map, other: Map) -> None:
    if np.shape(one) != np.shape(other):
        raise ValueError(f"maps of shapes {np.shape(one)} and {np.shape(other)} cannot be compared")
