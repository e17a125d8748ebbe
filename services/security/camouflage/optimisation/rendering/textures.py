"""Trilinear sampling of a texture whose mask is fixed, differentiable in its texels; see `rendering.sampling`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.security.camouflage.optimisation.rendering.colours import to_linear
from services.security.camouflage.rendering.sampling import level_sizes


class LevelStack:
    """Makes the list of all texels of all levels of a texture.

    Args:
        mask: bool (height, width), the texels that count in means.
        device: where textures are.
    """

    def __init__(self, mask: NDArray[np.bool_], device: torch.device | str = "cpu") -> None:
        self.sizes = level_sizes(*mask.shape)
        weight = torch.from_numpy(mask.astype(np.float64))[None].to(device)
        self._weights = [weight]
        for _ in self.sizes[1:]:
            weight = functional.avg_pool2d(weight, 2)
            self._weights.append(weight)

    def stack(self, texture: Tensor) -> Tensor:
        """Linear colours of the texels.

        Args:
            texture: (3, height, width), sRGB in [0, 1].

        Returns:
            (texels, 3) of the texture's dtype.

        Raises:
            ValueError: the texture is not of the mask's size.
        """
        if tuple(texture.shape[1:]) != self.sizes[0]:
            raise ValueError(f"the texture has {tuple(texture.shape[1:])} texels, its mask {self.sizes[0]}")
        level = to_linear(texture) * self._weights[0].to(texture.dtype)
        stacked = [level.flatten(1)]
        for weight in self._weights[1:]:
            level = functional.avg_pool2d(level, 2)
            stacked.append((level / weight.to(texture.dtype).clamp(min=1e-8)).flatten(1))
        return torch.cat(stacked, dim=1).T.contiguous()


def sample(stacked: Tensor, texels: Tensor, weights: Tensor) -> Tensor:
    """Colours (n, 3) of fragments out of a list of texels, as weighted sums.

    Args:
        stacked: (all texels, 3).
        texels: int64 (n, 8), places in the list.
        weights: (n, 8), without a gradient.
    """
    colours: Tensor = _WeightedSum.apply(stacked, texels, weights.to(stacked.dtype))  # type: ignore[no-untyped-call]
    return colours


class _WeightedSum(torch.autograd.Function):
    """Sums of texels.

    Torch's own backward of `embedding_bag` sorts all places anew each time, and takes eight times as long on a
    processor.
    """

    @staticmethod
    def forward(ctx: Any, stacked: Tensor, texels: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(texels, weights)
        ctx.texels = len(stacked)
        return functional.embedding_bag(texels, stacked, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        texels, weights = ctx.saved_tensors
        places, gradient = texels.reshape(-1), gradients[0]
        bands = [
            gradient.new_zeros(ctx.texels).scatter_add_(0, places, (weights * gradient[:, band, None]).reshape(-1))
            for band in range(gradient.shape[1])
        ]
        return torch.stack(bands, dim=1), None, None
