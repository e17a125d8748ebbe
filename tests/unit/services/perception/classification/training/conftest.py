"""Pictures that a few steps of training can tell apart: each class is a stripe at a height of its own."""

from __future__ import annotations

import numpy as np
import pytest

from shared.datasets.traffic_signs import Signs


@pytest.fixture
def stripes() -> Signs:
    """Four classes, eight tracks each, four frames a track."""
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(4), 32)
    tracks = 1000 * classes + np.tile(np.repeat(np.arange(8), 4), 4)
    pictures = random.integers(0, 80, (len(classes), 32, 32, 3), dtype=np.uint8)
    for picture, label in zip(pictures, classes, strict=True):
        picture[7 * label + 2 : 7 * label + 7] = 220
    return Signs(pictures, classes, tracks)
