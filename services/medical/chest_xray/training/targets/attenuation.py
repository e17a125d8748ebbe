"""Adding tissue to a film: grey values as logarithms of what the detector received, and how visible a change is.

A displayed grey value g is taken as the share of the radiation that was held back, on a scale on which 1 is nearly all:
with attenuation a = -ln(1 - S g), more tissue of attenuation d gives a + d. Lungs so become brighter by much and bones
by little, as on real films.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]

_SHARE: Final = 0.95
_EASY: Final = 1.0
"""Contrast over the noise around it at which a change is visible to 63 %."""


def add_attenuation(film: Field, added: Field) -> Field:
    """A film (H, W) in [0, 1], bones white, behind more tissue; `added` is its attenuation, below 0 for less."""
    passed = (1 - _SHARE * film) * np.exp(-added)
    changed: Field = np.clip((1 - passed) / _SHARE, 0, 1).astype(np.float32)
    return changed


def visibility(before: Field, after: Field, height: int) -> float:
    """How visible a change is, 0 to 1: its contrast over the film's own local contrast, where it changed most.

    Args:
        before: the film, (H, W) in [0, 1].
        after: changed.
        height: of the film on the grid, in pixels.
    """
    change = np.abs(after - before)
    if not change.max() > 0:
        return 0.0
    where = change >= 0.5 * change.max()
    smooth = ndimage.gaussian_filter(before, 0.03 * height)
    texture = float(np.sqrt(np.mean((before - smooth)[where] ** 2))) + 1e-3
    return float(1 - np.exp(-float(change[where].mean()) / texture / _EASY))


def texture(shape: tuple[int, int], height: int, random: np.random.Generator) -> Field:
    """A random field of mean 0 and deviation 1, with structures of 1, 2.5 and 6 % of a film's height."""
    field = np.zeros(shape, np.float32)
    for share, weight in ((0.01, 0.4), (0.025, 0.7), (0.06, 1.0)):
        noise = ndimage.gaussian_filter(random.standard_normal(shape, np.float32), share * height)
        field += weight * noise / max(float(noise.std()), 1e-6)
    return field / np.float32(field.std())
