"""A texture out of a diffusion model of camouflage and natural textures: its start is changed, its weights never.

Fact sheet, section 5. One patch is decoded and laid over the covered texels, beside itself, at an offset of its own for
each chart or sticker; convolutions go on at the opposite edge, so that the patch's edges meet.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.security.camouflage.optimisation.patterns.diffusion import SIDE, NoisePredictor, decode, make_periodic
from services.security.camouflage.optimisation.patterns.pattern import Pattern
from services.security.camouflage.optimisation.rendering.textures import sample
from services.security.camouflage.textures.covers import CoverMask

EVALUATIONS: Final = 6
"""Of the network in a decoding."""
_SHELL: Final = 1.0
"""Weight of the penalty that keeps the start where the prior has its mass."""
_REPEATS: Final = 4
"""How often a patch fits beside itself on a texture under full cover."""
_SOFT: Final = 12.0
"""How sharply values out of [0, 1] are cut: so that they keep a gradient."""


class DiffusionPattern(Pattern):
    """The start x_K of a decoding.

    Args:
        prior: of `read_prior`; it becomes periodic, and its weights are frozen.
        cover: texels that the patch is laid over: repeated for full cover, as high or wide as each sticker otherwise.
        seed: of the start and of the offsets.
        evaluations: of the network in a decoding.
    """

    learning_rate: ClassVar[float] = 0.05

    def __init__(self, prior: NoisePredictor, cover: CoverMask, seed: int, *, evaluations: int = EVALUATIONS) -> None:
        super().__init__()
        drawn = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
        self.latent = nn.Parameter(drawn)
        self._evaluations = evaluations
        make_periodic(prior)
        # Not a module of this one: what is frozen is no part of its state.
        self._prior = (prior.eval().requires_grad_(requires_grad=False),)
        places = lay_patch(cover, np.random.default_rng(seed))
        self._texels, self._weights = (torch.from_numpy(one) for one in periodic_samples(places, SIDE))

    def forward(self, noise: torch.Generator | None = None) -> Tensor:
        """The texture, as `Pattern` says."""
        patch = self.patch().reshape(3, -1).T.contiguous()
        side = round(len(self._texels) ** 0.5)
        return sample(patch, self._texels, self._weights).T.reshape(3, side, side)

    def patch(self) -> Tensor:
        """The decoded patch, float32 (3, SIDE, SIDE) in [0, 1]."""
        return cut_softly(decode(self._prior[0], self.latent, self._evaluations)[0] * 0.5 + 0.5)

    def penalty(self) -> Tensor:
        """How far the start is off the shell that standard normal values lie on: (|x|^2 / d - 1)^2."""
        return _SHELL * (self.latent.square().mean() - 1).square()


def cut_softly(values: Tensor) -> Tensor:
    """Values in (0, 1), nearly unchanged where they were there before."""
    # softplus(x) - softplus(x - 1) rises from 0 to 1 and has a gradient everywhere.
    soft = torch.nn.functional.softplus
    return soft(values, beta=_SOFT) - soft(values - 1, beta=_SOFT)


def lay_patch(cover: CoverMask, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where on a patch each texel lies, in patches from its upper left corner; float64 (side * side, 2), row first.

    Args:
        cover: that the patch is laid over.
        rng: of the offsets.
    """
    side = cover.mask.shape[0]
    rows, columns = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5, indexing="ij")
    texels = np.stack((rows, columns), axis=-1)
    period = max(side / _REPEATS, SIDE)
    places = texels / period
    if cover.rectangles:
        for one in cover.rectangles:
            inside = (rows >= one.top) & (rows < one.bottom) & (columns >= one.left) & (columns < one.right)
            size = min(one.bottom - one.top, one.right - one.left)
            places[inside] = (texels[inside] - (one.top, one.left)) / size
        return np.asarray(places.reshape(-1, 2), np.float64)
    for chart in np.unique(cover.charts[cover.charts >= 0]):
        places[cover.charts == chart] += rng.random(2)
    return np.asarray(places.reshape(-1, 2), np.float64)


def periodic_samples(places: NDArray[np.float64], side: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Bilinear sampling of a patch that goes on at its opposite edge.

    Args:
        places: float64 (n, 2), as `lay_patch` gives them.
        side: pixels of the patch.

    Returns:
        Pixels int64 (n, 4), row * side + column, and weights float32 (n, 4).
    """
    scaled = places * side - 0.5
    low = np.floor(scaled).astype(np.int64)
    part = scaled - low
    pixels, weights = [], []
    for down in (0, 1):
        for across in (0, 1):
            row, column = (low[:, 0] + down) % side, (low[:, 1] + across) % side
            pixels.append(row * side + column)
            weights.append(np.abs(1 - down - part[:, 0]) * np.abs(1 - across - part[:, 1]))
    return np.stack(pixels, axis=1), np.stack(weights, axis=1).astype(np.float32)
