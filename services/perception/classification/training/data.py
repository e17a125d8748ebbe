"""Augmented batches of traffic signs.

No flips: an arrow to the left is another sign than one to the right.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shared.datasets.traffic_signs import Signs

_SHIFT = 0.12
_SCALE = 0.15
_TURN = np.deg2rad(12.0)


def batches(signs: Signs, *, size: int, epoch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented batches, the same whenever it is drawn again; a short rest is left out.

    Yields:
        Pictures float32 (size, 3, 32, 32) in [0, 1], and classes int64 (size,).
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(signs))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield augment(as_tensor(signs.pictures[chosen]), random), torch.from_numpy(signs.classes[chosen])


def as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Float32 in [0, 1], (count, 3, 32, 32), of uint8 (count, 32, 32, 3)."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def augment(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Turn by up to 12 degrees, scale by up to 15 %, shift by up to 2 pixels, change light and contrast."""
    count = len(pictures)
    grid = functional.affine_grid(_maps(count, random), list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    contrast, light = (
        torch.from_numpy(random.uniform(low, high, (count, 1, 1, 1)).astype(np.float32))
        for low, high in ((0.6, 1.4), (-0.15, 0.15))
    )
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return ((moved - mean) * contrast + mean + light).clamp(0, 1)


def _maps(count: int, random: np.random.Generator) -> Tensor:
    """Affine maps (count, 2, 3) from places in the new picture to places in the old one."""
    turn = random.uniform(-_TURN, _TURN, count)
    scale = np.exp(random.uniform(-_SCALE, _SCALE, count))
    shift = random.uniform(-_SHIFT, _SHIFT, (count, 2))
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    rows = np.stack([np.stack([cosine, -sine, shift[:, 0]], axis=1), np.stack([sine, cosine, shift[:, 1]], axis=1)], 1)
    return torch.from_numpy(rows.astype(np.float32))
