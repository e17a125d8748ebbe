"""Relevance laid over the picture: red speaks for the class, blue against it, grey says nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FOR, _AGAINST = np.array([178, 24, 43], np.float32), np.array([33, 102, 172], np.float32)
_STRENGTH = 0.9


def overlay(picture: NDArray[np.float32], relevance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Relevance over the picture in grey; colours are scaled to the largest |relevance|, alike on both sides of zero.

    Args:
        picture: RGB in [0, 1], (3, height, width).
        relevance: (height, width).

    Returns:
        uint8 (height, width, 3).
    """
    largest = float(np.abs(relevance).max())
    share = np.abs(relevance) / largest if largest else np.zeros_like(relevance)
    opacity = (_STRENGTH * np.sqrt(share))[:, :, None]
    colour = np.where(relevance[:, :, None] >= 0, _FOR, _AGAINST)
    grey = 255 * (0.35 + 0.6 * picture.mean(axis=0))[:, :, None]
    mixed = np.round(np.clip((1 - opacity) * grey + opacity * colour, 0, 255))
    return np.asarray(mixed, dtype=np.uint8)
