"""Metrics on maps whose figures can be told beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.uncertainty.explanation.training import metrics

Array = NDArray[np.float32]


def corner(*, side: int = 8) -> Array:
    """Relevance 1 in the upper left quarter."""
    maps = np.zeros((1, side, side), np.float32)
    maps[:, : side // 2, : side // 2] = 1
    return maps


def corner_classifier(pictures: Array) -> Array:
    """Sure of class 1 as far as the upper left quarter is bright."""
    side = pictures.shape[2] // 2
    light = pictures[:, :, :side, :side].mean(axis=(1, 2, 3))
    return np.stack([np.zeros_like(light), 40 * (light - 0.9)], axis=1)


def test_pointing_and_localisation() -> None:
    mask = corner() > 0
    assert metrics.pointing(corner(), mask).tolist() == [1]
    assert metrics.pointing(1 - corner(), mask).tolist() == [0]
    assert metrics.localisation(corner(), mask).tolist() == [1]
    assert metrics.localisation(np.ones((1, 8, 8), np.float32), mask) == pytest.approx([0.25])
    assert metrics.localisation(-corner(), mask).tolist() == [0]


def test_the_true_map_deletes_fast_and_inserts_fast() -> None:
    pictures = np.zeros((1, 3, 8, 8), np.float32)
    pictures[:, :, :4, :4] = 1
    target = np.array([1])
    right = metrics.deletion_and_insertion(corner(), pictures, target, corner_classifier)
    wrong = metrics.deletion_and_insertion(1 - corner(), pictures, target, corner_classifier)
    assert right[0] < 0.2 < wrong[0]
    assert right[1] > wrong[1] + 0.3
    assert all(0 <= value <= 1 for area in (*right, *wrong) for value in area)


def test_lipschitz_of_a_constant_map_and_of_the_picture_itself() -> None:
    pictures = np.random.default_rng(0).random((3, 3, 8, 8), dtype=np.float32)
    targets = np.zeros(3, np.int64)
    assert metrics.lipschitz(pictures, targets, lambda changed, _: np.ones((3, 8, 8), np.float32)).tolist() == [0] * 3
    itself = metrics.lipschitz(pictures, targets, lambda changed, _: changed.mean(axis=1))
    coarse = metrics.lipschitz(pictures, targets, lambda changed, _: np.round(changed[:, 0] * 50) % 2)
    assert (itself > 0).all()
    assert (coarse > itself).all()


def test_interval_covers_the_mean_and_narrows() -> None:
    random = np.random.default_rng(1)
    few, many = (metrics.interval(random.normal(2, 1, count)) for count in (20, 2000))
    for one in (few, many):
        assert one["low"] < one["mean"] < one["high"]
    assert many["high"] - many["low"] < 0.3 * (few["high"] - few["low"])
    assert many["mean"] == pytest.approx(2, abs=0.1)
