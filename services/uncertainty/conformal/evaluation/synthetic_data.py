"""Generated items that the training losses are tried on, and the plain loop that trains on them. All synthetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.uncertainty.conformal.methods.arrays import FloatArray

Random = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Inputs, float32 (N, D), with their targets (N,); `hard`, bool (N,), marks items that nothing can be told of."""

    inputs: Tensor
    targets: Tensor
    hard: Tensor

    @classmethod
    def of(cls, inputs: FloatArray, targets: NDArray[Any], hard: NDArray[np.bool_] | None = None) -> Items:
        """From NumPy arrays; targets that are no integers become float32."""
        kept = torch.from_numpy(targets) if targets.dtype.kind == "i" else torch.from_numpy(targets.astype(np.float32))
        marks = np.zeros(len(targets), np.bool_) if hard is None else hard
        return cls(torch.from_numpy(inputs.astype(np.float32)), kept, torch.from_numpy(marks))


def outliers(count: int, random: Random, *, seed: int, share: float = 0.07) -> Items:
    """Eight classes around centres, but a share of the items lies far off on the other side of the origin.

    No linear classifier fits both. Cross entropy pays most for the far ones; sets of 90 % may leave them out.
    """
    centres = 0.9 * np.random.default_rng([seed, 1]).normal(size=(8, 6))
    labels, far = random.integers(0, 8, count), random.random(count) < share
    inputs = np.where(far[:, None], -4, 1) * centres[labels] + random.normal(size=(count, 6))
    return Items.of(inputs, labels)


def warped_logits(count: int, random: Random) -> Items:
    """Logits of ten labels whose distances from their mean were squared: the order is right, the confidence is not."""
    logits = 2 * random.normal(size=(count, 10)) * np.exp(random.normal(size=(count, 1)) / 2)
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    centred = logits - logits.mean(axis=1, keepdims=True)
    return Items.of(np.sign(centred) * centred**2, labels)


def long_tail(count: int, random: Random) -> Items:
    """Logits of a hundred labels, the true one far ahead as a rule, and a long tail; too sure of themselves."""
    labels = random.integers(0, 100, count)
    logits = random.normal(size=(count, 100))
    logits[np.arange(count), labels] += random.normal(5, 2.5, count)
    return Items.of(3 * logits, labels)


def partly_random(count: int, random: Random, *, seed: int, share: float = 0.3) -> Items:
    """Six classes in 20 dimensions; a share of the items, marked by the first input, has labels drawn by lot."""
    centres = 1.2 * np.random.default_rng([seed, 2]).normal(size=(6, 20))
    labels, hard = random.integers(0, 6, count), random.random(count) < share
    inputs = centres[labels] + random.normal(size=(count, 20))
    inputs[:, 0] = 4 * hard + 0.3 * random.normal(size=count)
    return Items.of(inputs, np.where(hard, random.integers(0, 6, count), labels), hard)


def ordered(count: int, random: Random, *, seed: int) -> Items:
    """Ten ordered labels, steps of a curve with noise whose spread depends on the input."""
    direction = np.random.default_rng([seed, 3]).normal(size=8)
    inputs = random.normal(size=(count, 8))
    curve = 2.2 * inputs @ direction / np.linalg.norm(direction) + np.sin(2 * inputs[:, 0])
    noisy = curve + random.normal(size=count) * np.where(inputs[:, 1] > 0, 1.0, 0.4)
    return Items.of(inputs, np.clip(np.floor(noisy + 5), 0, 9).astype(np.int64))


def widening(count: int, random: Random) -> Items:
    """A sine with noise that grows with the distance from the middle."""
    inputs = random.uniform(-1, 1, (count, 1))
    spread = 0.1 + 0.9 * np.abs(inputs[:, 0])
    return Items.of(inputs, np.sin(3 * inputs[:, 0]) + spread * random.normal(size=count))


def forked(count: int, random: Random) -> Items:
    """Two branches, 1 + x^2 above and below zero by lot, with a little noise: no interval in one piece is short."""
    inputs = random.uniform(-1, 1, (count, 1))
    sides = np.where(random.random(count) < 0.5, 1, -1)
    return Items.of(inputs, sides * (1 + inputs[:, 0] ** 2) + 0.15 * random.normal(size=count))


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    """One hidden layer of 64."""
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs))


def train(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    items: Items,
    *,
    seed: int,
    steps: int = 400,
    batch: int = 200,
    rate: float = 0.01,
) -> nn.Module:
    """Adam on batches that the seed draws; the network is changed and handed back."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    for _ in range(steps):
        chosen = torch.randint(0, len(items.targets), (batch,), generator=generator)
        optimiser.zero_grad()
        torch.autograd.backward(loss(network(items.inputs[chosen]), items.targets[chosen]))
        optimiser.step()
    return network
