"""Figures of explanations: one number for each picture, so that intervals and paired differences can be had of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from services.uncertainty.explanation.maps import gini, peak, rank_correlation

Array = NDArray[np.float32]
Figures = NDArray[np.float64]
Explain = Callable[[Array, NDArray[np.int64]], Array]
Predict = Callable[[Array], Array]

DELETION_STEPS = 16
LIPSCHITZ_SAMPLES, LIPSCHITZ_NOISE = 8, 0.1


def pointing(maps: Array, masks: NDArray[np.bool_]) -> Figures:
    """1 where the most relevant pixel lies in the mask (Zhang et al. 2018)."""
    return np.array([mask[peak(one)] for one, mask in zip(maps, masks, strict=True)], dtype=np.float64)


def localisation(maps: Array, masks: NDArray[np.bool_]) -> Figures:
    """Share of the positive relevance that lies in the mask; 0 where there is none."""
    positive = np.maximum(maps, 0).astype(np.float64)
    total = positive.sum(axis=(1, 2))
    inside: Figures = (positive * masks).sum(axis=(1, 2)) / np.where(total > 0, total, 1)
    return inside


def sparsity(maps: Array) -> Figures:
    """Gini coefficient of |relevance|."""
    return np.array([gini(one) for one in maps])


def deletion_and_insertion(
    maps: Array, pictures: Array, targets: NDArray[np.int64], predict: Predict
) -> tuple[Figures, Figures]:
    """Areas under the probability of the class while pixels go, most relevant first, or come (Petsiuk et al. 2018).

    A deleted pixel gets the picture's mean colour; insertion starts from the blurred picture (standard deviation a
    sixth of the side).
    """
    count, _, height, width = pictures.shape
    ranked = np.argsort(-maps.reshape(count, -1), axis=1, kind="stable")
    order = np.argsort(ranked, axis=1).reshape(count, height, width)
    grey = pictures.mean(axis=(2, 3), keepdims=True)
    blurred = gaussian_filter(pictures, sigma=(0, 0, height / 6, width / 6))
    curves: tuple[list[Figures], list[Figures]] = ([], [])
    for step in range(DELETION_STEPS + 1):
        first = (order < round(step / DELETION_STEPS * height * width))[:, None]
        for curve, changed in zip(
            curves, (np.where(first, grey, pictures), np.where(first, pictures, blurred)), strict=True
        ):
            chances = softmax(predict(changed.astype(np.float32)).astype(np.float64), axis=1)
            curve.append(chances[np.arange(count), targets])
    deleted, inserted = (np.trapezoid(np.stack(curve), dx=1 / DELETION_STEPS, axis=0) for curve in curves)
    return np.asarray(deleted), np.asarray(inserted)


def lipschitz(pictures: Array, targets: NDArray[np.int64], explain: Explain, *, seed: int = 0) -> Figures:
    """Largest |R(x) - R(x')| / |x - x'| over Gaussian noise of standard deviation 0.1, maps scaled to norm 1.

    Alvarez-Melis and Jaakkola 2018, with the scaling so that methods of different units compare.
    """
    random = np.random.default_rng(seed)
    plain = normalised(explain(pictures, targets))
    worst = np.zeros(len(pictures))
    for _ in range(LIPSCHITZ_SAMPLES):
        noisy = np.clip(pictures + random.normal(0, LIPSCHITZ_NOISE, pictures.shape), 0, 1).astype(np.float32)
        moved = np.linalg.norm((noisy - pictures).reshape(len(pictures), -1), axis=1)
        changed = np.linalg.norm((normalised(explain(noisy, targets)) - plain).reshape(len(pictures), -1), axis=1)
        worst = np.maximum(worst, changed / moved)
    return worst


def normalised(maps: Array) -> Figures:
    """Maps scaled to Euclidean norm 1; zeros stay."""
    norms = np.linalg.norm(maps.reshape(len(maps), -1).astype(np.float64), axis=1)[:, None, None]
    scaled: Figures = maps / np.where(norms > 0, norms, 1)
    return scaled


def similarity(left: Array, right: Array) -> Figures:
    """Spearman's coefficient of each pair of maps; 0 where one is constant."""
    return np.array([rank_correlation(one, other) or 0.0 for one, other in zip(left, right, strict=True)])


def interval(figures: Figures, *, repeats: int = 2000, seed: int = 0) -> dict[str, float]:
    """Mean with its 95 % bootstrap interval over pictures."""
    drawn = np.random.default_rng(seed).integers(0, len(figures), (repeats, len(figures)))
    low, high = np.quantile(figures[drawn].mean(axis=1), [0.025, 0.975])
    return {"mean": float(figures.mean()), "low": float(low), "high": float(high)}
