"""Augmented batches of traffic signs in [-1, 1].

Crops out of a border of four pixels, as the paper has them, light and contrast; no flips, which the released code has:
an arrow to the left is another sign than one to the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.datasets.traffic_signs import SIDE, Signs

LAYOUT = torch.channels_last
"""Half as fast again as torch.contiguous_format for a classifier; its kernels for few channels crash on some CPUs."""

Network = TypeVar("Network", bound=nn.Module)

_BORDER = 4
_CONTRAST = 0.4
_LIGHT = 0.15


def batches(signs: Signs, *, size: int, epoch: int, seed: int, noise: float = 0.0) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented batches, the same whenever it is drawn again; a short rest is left out.

    Args:
        signs: to draw from.
        size: pictures in a batch.
        epoch: its number.
        seed: of the run.
        noise: standard deviation of normal noise that is added, in the pictures' unit.

    Yields:
        Pictures float32 (size, 3, 32, 32) in [-1, 1], in the memory layout of `LAYOUT`, and classes int64 (size,).
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(signs))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        pictures = _relight(_crop(signs.pictures[chosen], random), random)
        if noise:
            pictures = (pictures + random.normal(0, noise, pictures.shape).astype(np.float32)).clip(-1, 1)
        yield as_channels(pictures), torch.from_numpy(signs.classes[chosen])


def as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Float32 in [-1, 1], (count, 3, 32, 32), of uint8 (count, 32, 32, 3)."""
    return as_channels(_scaled(pictures))


def as_channels(pictures: NDArray[np.float32]) -> Tensor:
    """Pictures (count, height, width, 3) as (count, 3, height, width), in the memory layout of `LAYOUT`."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).contiguous(memory_format=LAYOUT)


def laid_out(network: Network) -> Network:
    """The network, its weights in the memory layout of `LAYOUT`."""
    network.to(memory_format=LAYOUT)  # type: ignore[call-overload]
    return network


def _scaled(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pictures.astype(np.float32) * np.float32(2 / 255) - np.float32(1)


def _crop(pictures: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    border = ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0))
    padded = np.pad(pictures, border, mode="edge")
    corners = random.integers(0, 2 * _BORDER + 1, (len(pictures), 2))
    return np.stack(
        [one[top : top + SIDE, left : left + SIDE] for one, (top, left) in zip(padded, corners, strict=True)]
    )


def _relight(pictures: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    scaled = _scaled(pictures)
    shape = (len(pictures), 1, 1, 1)
    contrast = random.uniform(1 - _CONTRAST, 1 + _CONTRAST, shape).astype(np.float32)
    light = random.uniform(-2 * _LIGHT, 2 * _LIGHT, shape).astype(np.float32)
    mean = scaled.mean(axis=(1, 2, 3), keepdims=True)
    changed: NDArray[np.float32] = (scaled - mean) * contrast + mean + light
    return changed.clip(-1, 1)
