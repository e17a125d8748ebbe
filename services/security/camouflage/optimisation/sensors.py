"""What a camera does to a picture after it is composed, drawn anew for each: so that no texture relies on exact pixels.

Expectation over transformations (Athalye et al. 2018) of blur with a small shift, gamma, noise and 8 bits; every part
has a gradient, rounding by passing it straight through.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

_REACH: Final = 3
"""Pixels to each side that blur and shift reach."""
_BLURS: Final = (0.3, 0.9)
"""Deviations of the blur in pixels; training's, as all ranges here."""
_SHIFT: Final = 1.0
_GAMMAS: Final = (0.85, 1.18)
_NOISES: Final = (0.0, 0.025)
_DARKEST: Final = 1e-3
"""Where gamma's slope would have no bound."""


def take_pictures(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """The pictures as cameras would give them.

    Args:
        pictures: (n, 3, height, width), sRGB in [0, 1].
        rng: decides all.

    Returns:
        (n, 3, height, width) in [0, 1], in steps of 1 / 255; the gradient is that without the steps.
    """
    count = len(pictures)
    blurred = _blur_and_shift(pictures, rng.uniform(*_BLURS, count), rng.uniform(-_SHIFT, _SHIFT, (count, 2)))
    gammas = torch.from_numpy(np.exp(rng.uniform(np.log(_GAMMAS[0]), np.log(_GAMMAS[1]), count))).to(pictures.dtype)
    curved = blurred.clamp(_DARKEST, 1) ** gammas[:, None, None, None]
    deviations = rng.uniform(*_NOISES, count)[:, None, None, None].astype(np.float32)
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32) * deviations)
    return quantise((curved + noise.to(pictures.dtype)).clamp(0, 1))


def quantise(values: Tensor) -> Tensor:
    """Values in [0, 1] in steps of 1 / 255, with the gradient of the values themselves (straight-through)."""
    return values + ((values * 255).round() / 255 - values).detach()


def _blur_and_shift(pictures: Tensor, blurs: Floats, shifts: Floats) -> Tensor:
    """Convolution of each picture with a Gaussian of its own, off the middle by its shift down and across.

    As two products of matrices: many small convolutions take thirty times as long on a processor.
    """
    height, width = pictures.shape[2:]
    down = torch.from_numpy(_mixing(height, blurs, shifts[:, 0])).to(pictures.dtype)
    across = torch.from_numpy(_mixing(width, blurs, shifts[:, 1])).to(pictures.dtype)
    return down[:, None] @ pictures @ across[:, None].transpose(2, 3)


def _mixing(size: int, blurs: Floats, shifts: Floats) -> Floats:
    """How much each place along a side gets of each other, (n, size, size); edges go on as they are."""
    offsets = np.arange(-_REACH, _REACH + 1)
    kernels = np.exp(-((offsets[None] - shifts[:, None]) ** 2) / (2 * blurs[:, None] ** 2))
    kernels /= kernels.sum(axis=1, keepdims=True)
    mixing, places = np.zeros((len(blurs), size, size)), np.arange(size)
    for index, offset in enumerate(offsets):
        # Several offsets meet at an edge, but no two places of one offset share a row.
        mixing[:, places, np.clip(places + offset, 0, size - 1)] += kernels[:, index, None]
    return mixing
