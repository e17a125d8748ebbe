"""Training of the classifiers that are protected: quantisation-aware, resumable after each epoch.

The same loop retrains one with noise or with random bit errors (Stutz et al. 2021), the baselines of those who may
retrain.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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


class BaseTraining:
    """One run, with its checkpoint and log in a folder.

    Args:
        recipe: what to do.
        training: pictures to learn from.
        validation: pictures of other tracks, measured after each epoch.
        folder: where checkpoint.pt and log.jsonl are written.
        start: a trained network to go on from; a new one unless given.
    """

    def __init__(
        self, recipe: BaseRecipe, training: Signs, validation: Signs, folder: Path, *, start: nn.Module | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.training, self.validation, self.folder = recipe, training, validation, folder
        self.network = BASE_NETWORKS[recipe.network]()
        if start is not None:
            self.network.load_state_dict(start.state_dict())
        laid_out(self.network)
        self.optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
        )
        self.epoch, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> nn.Module:
        """Train to the last epoch, from where the folder's checkpoint left off."""
        self._resume()
        while self.epoch < self.recipe.epochs:
            began = time.monotonic()
            loss = self._pass()
            self.epoch += 1
            self.seconds += time.monotonic() - began
            self._save()
            self._log(loss)
        return self.network.eval()

    def _pass(self) -> float:
        self.network.train()
        recipe = self.recipe
        steps = len(self.training) // recipe.batch
        losses = []
        drawn = batches(self.training, size=recipe.batch, epoch=self.epoch, seed=recipe.seed, noise=recipe.noise)
        for index, (pictures, classes) in enumerate(tqdm(drawn, total=steps, desc=f"epoch {self.epoch + 1}")):
            step = self.epoch * steps + index
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(step, recipe, steps=steps * recipe.epochs)
            self.optimiser.zero_grad(set_to_none=True)
            losses.append(self._descend(pictures, classes, step))
            self.optimiser.step()
        return float(np.mean(losses))

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

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} belongs to a run with another recipe: {state['recipe']}")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "recipe": asdict(self.recipe),
        }
        save(state, self.folder / "checkpoint.pt")

    def _log(self, loss: float) -> None:
        row = {
            "epoch": self.epoch,
            "seconds": round(self.seconds, 1),
            "loss": round(loss, 4),
            "validation": round(accuracy(self.network.eval(), self.validation), 4),
        }
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


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


def save(state: dict[str, object], path: Path) -> None:
    """Write a checkpoint so that a crash leaves either the old one or the new one."""
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)


def learning_rate(step: int, recipe: BaseRecipe, *, steps: int) -> float:
    """Linear warm-up, then a cosine down to zero after `steps` steps."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    course = (step - recipe.warm_up) / max(1, steps - recipe.warm_up)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * course))


@torch.no_grad()
def accuracy(network: nn.Module, signs: Signs, *, batch: int = 256) -> float:
    """Share of pictures whose class has the largest logit."""
    right = 0
    for start in range(0, len(signs), batch):
        found = network(as_tensor(signs.pictures[start : start + batch])).argmax(1).numpy()
        right += int((found == signs.classes[start : start + batch]).sum())
    return right / len(signs)
