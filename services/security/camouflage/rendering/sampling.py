"""Which texels a fragment sees, and how much of each: trilinear sampling as a weighted sum of eight.

A texture is stored with smaller copies of itself, each a mean of 2 x 2 texels of the one before (Williams 1983), in one
long list of texels. Only texels that lie on a painted surface count in a mean, so that what lies between two charts
never shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LEVELS: Final = 7
"""Most copies of a texture, itself included."""

ANISOTROPY: Final = 4.0
"""Greatest length of a footprint for its width that is averaged over."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Eight texels of each of n fragments.

    Attributes:
        texels: int64 (n, 8), places in the list of all texels of all levels.
        weights: float32 (n, 8), sum 1.
    """

    texels: NDArray[np.int64]
    weights: Floats


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the copies of a texture, each half the one before, down to an odd side or `LEVELS`."""
    sizes = [(height, width)]
    while len(sizes) < LEVELS and height % 2 == 0 and width % 2 == 0:
        height, width = height // 2, width // 2
        sizes.append((height, width))
    return sizes


def plan_samples(uv: Floats, footprints: Floats, height: int, width: int) -> Samples:
    """Texels and weights of fragments in a texture of a size.

    The level is that at which the longer side of a pixel's footprint is one texel, as in OpenGL 4.6, section 8.14.1;
    where it is more than `ANISOTROPY` times the shorter one, as on a surface seen from its edge, it counts as that
    long: a mean over so much of the texture would reach into other charts.

    Args:
        uv: float32 (n, 2) in [0, 1], v upwards.
        footprints: float32 (n, 2, 2), as a `View` has them.
        height: rows of the texture; row 0 is at v = 1.
        width: columns.
    """
    sizes = level_sizes(height, width)
    sides = np.linalg.norm(footprints * np.array([width, height], np.float32), axis=2)
    lengths = np.minimum(sides.max(axis=1), ANISOTROPY * sides.min(axis=1))
    level = np.clip(np.log2(np.maximum(lengths, 1e-8)), 0, len(sizes) - 1)
    lower = np.minimum(np.floor(level), max(len(sizes) - 2, 0)).astype(np.int64)
    upper = np.minimum(lower + 1, len(sizes) - 1)
    part = (level - lower).astype(np.float32)[:, None]
    near, near_weights = _bilinear(uv, lower, sizes)
    far, far_weights = _bilinear(uv, upper, sizes)
    return Samples(
        np.concatenate((near, far), axis=1), np.concatenate((near_weights * (1 - part), far_weights * part), axis=1)
    )


def _bilinear(uv: Floats, level: NDArray[np.int64], sizes: list[tuple[int, int]]) -> tuple[NDArray[np.int64], Floats]:
    """Four texels around each place on a level, and their weights."""
    table = np.array(sizes)
    starts = np.concatenate(([0], np.cumsum(table.prod(axis=1))[:-1]))
    height, width = table[level].T
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = x.astype(np.int64), y.astype(np.int64)
    right, down = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, under = (x - left).astype(np.float32), (y - top).astype(np.float32)
    start = starts[level]
    texels = [start + row * width + column for row in (top, down) for column in (left, right)]
    weights = [one * other for one in (1 - under, under) for other in (1 - across, across)]
    return np.stack(texels, axis=1), np.stack(weights, axis=1)


def stack_levels(texture: Floats, mask: NDArray[np.bool_]) -> Floats:
    """All texels of all levels of a linear texture.

    Args:
        texture: float32 (height, width, 3).
        mask: bool (height, width), the texels that count.

    Returns:
        float32 (texels, 3).
    """
    weight = mask.astype(np.float32)[..., None]
    level, stacked = texture * weight, []
    for index, (height, width) in enumerate(level_sizes(*mask.shape)):
        if index:
            level = level.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
            weight = weight.reshape(height, 2, width, 2, 1).mean(axis=(1, 3))
        stacked.append((level / np.maximum(weight, 1e-8)).reshape(-1, 3))
    return np.concatenate(stacked)


def sample(stacked: Floats, samples: Samples) -> Floats:
    """Colours of fragments, float32 (n, 3), out of the texels of `stack_levels`."""
    return np.asarray(np.einsum("nt,ntk->nk", samples.weights, stacked[samples.texels]))
