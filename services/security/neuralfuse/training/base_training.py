"""Training of the classifiers that are protected: quantisation-aware, resumable after each epoch.

The same loop retrains one with noise or with random bit errors (Stutz et al. 2021), the baselines of those who may
retrain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from services.security.bit_errors.faults import FaultModel, draw_faults
from services.security.bit_errors.quantisation import quantise
from services.security.neuralfuse.training.base_networks import BASE_NETWORKS
from services.security.neuralfuse.training.data import as_tensor, batches, laid_out
from services.security.neuralfuse.training.epochs import EpochRun
from services.security.neuralfuse.training.quantised_layers import QuantisedConv2d, QuantisedLinear
from shared.datasets.traffic_signs import Signs

TRAINING_SEEDS = 30_001
"""Chips that training draws from; those that measure have higher numbers (released code)."""


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """Everything that decides the weights, beside the data."""

    network: str = "vgg11"
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warm_up: int = 200
    """Steps over which the learning rate rises."""
    noise: float = 0.0
    """Standard deviation of normal noise on the pictures, in [-1, 1]."""
    bit_error_rate: float = 0.0
    """Of a second loss with faulty weights, added to the first."""
    seed: int = 0
    start: str = ""
    """The folder of a finished run to go on from, beside this run's; none: from the beginning."""


class BaseTraining(EpochRun):
    """One run.

    Args:
        recipe: what to do.
        training: pictures to learn from.
        validation: pictures of other tracks, measured after each epoch.
        folder: where checkpoint.pt and log.jsonl are written.
        start: what `recipe.start` ended with.
    """

    def __init__(
        self, recipe: BaseRecipe, training: Signs, validation: Signs, folder: Path, *, start: nn.Module | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.training, self.validation = recipe, training, validation
        self.network = laid_out(BASE_NETWORKS[recipe.network]())
        if start is not None:
            self.network.load_state_dict(start.state_dict())
        self.optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
        )
        super().__init__(recipe, self.network, self.optimiser, folder)

    def run(self) -> nn.Module:
        """Train to the last epoch, from where the folder's checkpoint left off."""
        self.finish()
        return self.network

    def train_epoch(self) -> dict[str, float]:
        """One pass over the training pictures."""
        recipe = self.recipe
        steps = len(self.training) // recipe.batch
        losses = []
        drawn = batches(self.training, size=recipe.batch, epoch=self.epoch, seed=recipe.seed, noise=recipe.noise)
        for index, (pictures, classes) in enumerate(tqdm(drawn, total=steps, desc=f"epoch {self.epoch + 1}")):
            step = self.epoch * steps + index
            self.set_learning_rate(step, steps * recipe.epochs)
            self.optimiser.zero_grad(set_to_none=True)
            losses.append(self._descend(pictures, classes, step))
            self.optimiser.step()
        return {"loss": round(float(np.mean(losses)), 4)}

    def validate(self) -> float:
        """Share of validation pictures that are classified rightly."""
        return round(accuracy(self.network, self.validation), 4)

    def _descend(self, pictures: Tensor, classes: Tensor, step: int) -> float:
        loss = functional.cross_entropy(self.network(pictures), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.bit_error_rate:
            self._descend_with_errors(pictures, classes, step)
        return float(loss.detach())

    def _descend_with_errors(self, pictures: Tensor, classes: Tensor, step: int) -> None:
        """Add the gradient at weights that were read through fresh faults (straight through to the weights)."""
        faults = FaultModel(self.recipe.bit_error_rate)
        with read_through(self.network, faults, step % TRAINING_SEEDS):
            functional.cross_entropy(self.network(pictures), classes).backward()  # type: ignore[no-untyped-call]


@contextmanager
def read_through(network: nn.Module, faults: FaultModel, seed: int) -> Iterator[None]:
    """Let quantised layers compute with what they read through faulty cells, in here; gradients reach their weights."""
    layers = [module for module in network.modules() if isinstance(module, QuantisedConv2d | QuantisedLinear)]
    for number, layer in enumerate(layers):
        tensor = quantise(layer.weight.detach().numpy())
        read = draw_faults(faults, seed, tensor.values.size, tensor=number).read(tensor.values)
        layer.read = torch.from_numpy(tensor.dequantise(read))
    try:
        yield
    finally:
        for layer in layers:
            layer.read = None


@torch.no_grad()
def accuracy(network: nn.Module, signs: Signs, *, batch: int = 256) -> float:
    """Share of pictures whose class has the largest logit."""
    right = 0
    for start in range(0, len(signs), batch):
        found = network(as_tensor(signs.pictures[start : start + batch])).argmax(1).numpy()
        right += int((found == signs.classes[start : start + batch]).sum())
    return right / len(signs)
