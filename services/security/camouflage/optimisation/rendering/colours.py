"""Between sRGB as stored in pictures and light (IEC 61966-2-1), differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from services.security.camouflage.rendering.colours import TO_XYZ


def to_linear(encoded: Tensor) -> Tensor:
    """Linear light of sRGB values in [0, 1], of the same shape."""
    curved = ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, curved)


def to_srgb(light: Tensor) -> Tensor:
    """Values of sRGB in [0, 1] for linear light, of the same shape.

    What is brighter than white is white and has no gradient, as in a camera whose sensor is full.
    """
    values = light.clamp(0, 1)
    curved = 1.055 * values.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(values <= 0.0031308, values * 12.92, curved)


def to_lab(encoded: Tensor) -> Tensor:
    """CIELAB of sRGB values in [0, 1], as `rendering.colours.to_lab`, the channels last; differentiable."""
    matrix = torch.tensor(TO_XYZ, dtype=encoded.dtype, device=encoded.device)
    ratio = to_linear(encoded) @ matrix.T / matrix.sum(dim=1)
    curved = ratio.clamp(min=(6 / 29) ** 3) ** (1 / 3)
    x, y, z = torch.where(ratio > (6 / 29) ** 3, curved, ratio * (29 / 6) ** 2 / 3 + 4 / 29).unbind(dim=-1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-1)
