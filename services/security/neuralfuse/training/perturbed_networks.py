"""A trained network as it computes out of a weight memory: its int8 weights, and reading them through faulty cells.

Batch normalisation is folded: the memory holds the same integers, and each channel's factor goes into its scale.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.security.bit_errors.faults import FaultModel, draw_faults
from services.security.bit_errors.quantisation import QuantisedTensor, quantise
from services.security.neuralfuse.training.data import laid_out
from services.security.neuralfuse.training.quantised_layers import ConvolutionUnit, QuantisedLinear


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """The weights of one layer.

    Attributes:
        name: of the layer within its network.
        layer: computes with them in single precision.
        bias: of the layer, with what is left of batch normalisation.
        tensor: as they are in memory.
        scales: float32, what a step is worth in each output channel.
    """

    name: str
    layer: nn.Conv2d | nn.Linear
    bias: Tensor
    tensor: QuantisedTensor
    scales: Tensor

    def write(self, values: NDArray[np.int8]) -> None:
        """Let the layer compute with these values."""
        weights = torch.from_numpy(values).float() * self.scales.view(-1, *[1] * (values.ndim - 1))
        self.layer.weight.data.copy_(weights)


class PerturbedNetwork(nn.Module):
    """A frozen copy of a network in evaluation mode that reads its weights anew when asked; gradients reach its inputs.

    Args:
        network: made of `ConvolutionUnit`s and `QuantisedLinear`s; left as it is.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        self.stored = list(_fold(self.network))
        self.network.requires_grad_(False)
        laid_out(self.network)
        self.restore()

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits, with the weights that were read last."""
        logits: Tensor = self.network(pictures)
        return logits

    def perturb(self, faults: FaultModel, seed: int) -> PerturbedNetwork:
        """Read all weights through the cells of the chip `seed`."""
        for number, one in enumerate(self.stored):
            values = one.tensor.values
            one.write(draw_faults(faults, seed, values.size, tensor=number).read(values))
        return self

    def restore(self) -> PerturbedNetwork:
        """Read all weights as they were written."""
        for one in self.stored:
            one.write(one.tensor.values)
        return self


def _fold(module: nn.Module, path: str = "") -> Iterator[StoredWeights]:
    """Put plain layers in the place of quantised ones, in the order of the network."""
    for name, child in list(module.named_children()):
        whole = f"{path}{name}"
        if isinstance(child, ConvolutionUnit | QuantisedLinear):
            stored = _folded_convolution(child, whole) if isinstance(child, ConvolutionUnit) else _linear(child, whole)
            setattr(module, name, stored.layer)
            yield stored
        else:
            yield from _fold(child, f"{whole}.")


@torch.no_grad()
def _folded_convolution(unit: ConvolutionUnit, name: str) -> StoredWeights:
    old = unit.conv
    layer = nn.Conv2d(old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding)  # type: ignore[arg-type]
    factor, bias = unit.factors()
    tensor = quantise(old.weight.numpy())
    return _stored(name, layer, bias, tensor, factor * tensor.scale)


@torch.no_grad()
def _linear(old: QuantisedLinear, name: str) -> StoredWeights:
    layer = nn.Linear(old.in_features, old.out_features)
    tensor = quantise(old.weight.numpy())
    return _stored(name, layer, old.bias, tensor, torch.full((old.out_features,), tensor.scale))


def _stored(
    name: str, layer: nn.Conv2d | nn.Linear, bias: Tensor, tensor: QuantisedTensor, scales: Tensor
) -> StoredWeights:
    layer.bias = nn.Parameter(bias.clone())
    return StoredWeights(name, layer, layer.bias, tensor, scales)
