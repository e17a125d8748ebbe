"""The rules' operations in torch, and the forward pass that they need; differentiable throughout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from services.uncertainty.explanation.networks.graph import Branch, Network, Size, Weights
from services.uncertainty.explanation.relevance.kernels import ungrouped
from services.uncertainty.explanation.relevance.operations import Operations
from services.uncertainty.explanation.relevance.rules import backward, class_relevance, contrasted, pooled

_ROOT_FLOOR = 1e-30
"""The square root has no slope at zero."""


class TorchOperations(Operations[Tensor]):
    """Computes at once, in single precision unless its tensors are double."""

    def constant(self, value: Weights) -> Tensor:
        """See `Operations`."""
        return torch.from_numpy(value).to(torch.get_default_dtype())

    def add(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Operations`."""
        return left + right

    def multiply(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Operations`."""
        return left * right

    def divide(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Operations`."""
        return left / right

    def square_root(self, value: Tensor) -> Tensor:
        """See `Operations`."""
        return torch.where(value > 0, value.clamp(min=_ROOT_FLOOR).sqrt(), 0)

    def rectify(self, value: Tensor) -> Tensor:
        """See `Operations`."""
        return value.relu()

    def is_positive(self, value: Tensor) -> Tensor:
        """See `Operations`."""
        return (value > 0).to(value.dtype)

    def outward(self, value: Tensor, amount: float) -> Tensor:
        """See `Operations`."""
        return value + torch.where(value >= 0, amount, -amount)

    def sum_channels(self, value: Tensor) -> Tensor:
        """See `Operations`."""
        return value.sum(dim=1, keepdim=True)

    def squared_norm(self, value: Tensor) -> Tensor:
        """See `Operations`."""
        return value.square().sum(dim=1, keepdim=True)

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Operations`."""
        return (left * right).sum(dim=1, keepdim=True)

    def scale(self, value: Tensor, factor: Tensor) -> Tensor:
        """See `Operations`."""
        return value * factor

    def convolve(
        self, value: Tensor, weight: Weights, *, stride: int = 1, padding: Sequence[int] = (0, 0), groups: int = 1
    ) -> Tensor:
        """See `Operations`."""
        above, left, below, right = (*padding, *padding)[:4]
        padded = functional.pad(value, (left, right, above, below))
        return functional.conv2d(padded, self.constant(weight), stride=stride, groups=groups)

    def norms(self, value: Tensor, weight: Weights, *, size: Size, groups: int = 1) -> Tensor:
        """See `Operations`."""
        weight = ungrouped(weight, groups) if groups > 1 else weight
        outputs, inputs, height, width = weight.shape
        matrices = self.constant(weight).permute(2, 3, 0, 1).reshape(1, height * width, outputs, inputs)
        product = matrices @ value.reshape(len(value), 1, inputs, -1)
        norms = self.square_root(product.square().sum(dim=2))
        return norms.reshape(len(value), height * width, *size)

    def phase(self, value: Tensor, offset: Size, *, stride: int, size: Size, below: Size, channels: int) -> Tensor:
        """See `Operations`."""
        del channels
        missing = [stride * extent - whole for extent, whole in zip(size, below, strict=True)]
        padded = functional.pad(value, (0, missing[1], 0, missing[0]))
        return padded[:, :, offset[0] :: stride, offset[1] :: stride]

    def interleave(self, values: Sequence[Tensor], offsets: Sequence[Size], *, stride: int, size: Size) -> Tensor:
        """See `Operations`."""
        known = dict(zip(offsets, values, strict=True))
        zero = torch.zeros_like(values[0])
        every = [known.get((row, column), zero) for row in range(stride) for column in range(stride)]
        return functional.pixel_shuffle(torch.cat(every, dim=1), stride)[:, :, : size[0], : size[1]]

    def spread(
        self, value: Tensor, weight: Weights, *, stride: int, padding: Sequence[int], size: Size, groups: int = 1
    ) -> Tensor:
        """See `Operations`."""
        above, left = padding[:2]
        whole = functional.conv_transpose2d(value, self.constant(weight), stride=stride, groups=groups)
        below, right = (
            extent + before - found for extent, before, found in zip(size, (above, left), whole.shape[2:], strict=True)
        )
        return functional.pad(whole, (-left, right, -above, below))

    def regroup(self, value: Tensor, channels: int) -> Tensor:
        """See `Operations`."""
        return value.reshape(-1, channels, *value.shape[2:])

    def first_maximum(self, value: Tensor, *, channels: int) -> Tensor:
        """See `Operations`; torch's own argmax does not promise the first."""
        del channels
        greatest = (value == value.amax(dim=1, keepdim=True)).to(value.dtype)
        return greatest * (greatest.cumsum(dim=1) == 1)


def forward(network: Network, pictures: Tensor) -> dict[str, Tensor]:
    """Values of the input, of each pre-activation and output, and of the logits (batch, classes), by name.

    Args:
        network: what to run.
        pictures: normalised, (batch, channels, height, width).
    """
    operations, values = TorchOperations(), {network.input: pictures}
    for junction in network.junctions:
        terms = [_apply(operations, branch, values[branch.source]) for branch in junction.branches]
        values[junction.name] = torch.stack(terms).sum(dim=0) if len(terms) > 1 else terms[0]
        if junction.rectified:
            values[junction.output] = values[junction.name].clamp(0, junction.ceiling)
    head = network.head
    features = values[head.source].mean(dim=(2, 3))
    values[head.logits] = features @ operations.constant(head.weight).T + operations.constant(head.bias)
    return values


def explain(
    network: Network, pictures: Tensor, classes: Tensor, *, contrast: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (batch, classes), and relevance (batch, 1, height, width) of every layer by name, for one class each.

    Args:
        network: what to explain.
        pictures: normalised, (batch, channels, height, width).
        classes: int64, (batch,).
        contrast: how much of its mean is taken from the head's map, see `contrasted`.
    """
    operations, values = TorchOperations(), forward(network, pictures)
    head, features = network.head, values[network.head.source]
    weight = operations.constant(head.weight)[classes][:, :, None, None]
    bias = operations.constant(head.bias)[classes][:, None, None, None]
    positions = features.shape[2] * features.shape[3]
    relevance = class_relevance(operations, features, weight, bias, positions=positions)
    relevance = contrasted(operations, relevance, torch.tensor(contrast), size=network.sizes[head.source])
    return values[head.logits], backward(operations, network, values=values, relevance=relevance)


def _apply(operations: TorchOperations, branch: Branch, source: Tensor) -> Tensor:
    if branch.pool is not None:
        source = pooled(operations, source, branch.pool, channels=source.shape[1])
    if branch.convolution is None:
        return source
    convolution = branch.convolution
    value = operations.convolve(
        source,
        convolution.weight,
        stride=convolution.stride,
        padding=convolution.padding,
        groups=convolution.groups,
    )
    return value + operations.constant(convolution.bias)[None, :, None, None]
