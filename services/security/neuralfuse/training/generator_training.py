"""Training of generators by expectation over perturbed models (EOPM; paper, sections 3.2 and 3.3, algorithm 1).

The base classifier is frozen; each step reads its weights through fresh faulty cells. F(x) is computed once for a
batch, where the released code computes it again for each perturbed model: the same gradient for less.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from services.security.bit_errors.faults import FaultModel
from services.security.neuralfuse.training.base_training import TRAINING_SEEDS, accuracy, save
from services.security.neuralfuse.training.data import as_tensor, batches, laid_out
from services.security.neuralfuse.training.generators import GENERATORS, ConstantShift, Fuse
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from shared.datasets.traffic_signs import Signs

TEST_SEEDS = tuple(range(50_000, 50_010))
"""Chips that measure (released code); training draws from other ones."""

CONSTANT_SHIFT = "constant-shift"
"""The name of the input-independent baseline."""


@dataclass(frozen=True, slots=True)
class GeneratorRecipe:
    """Everything that decides a generator, beside the data and the base classifier."""

    generator: str = "UNetL"
    base: str = "vgg11"
    bit_error_rate: float = 0.01
    weight: float = 5.0
    """Lambda: of the loss at low voltage, beside that at nominal voltage."""
    perturbed: int = 1
    """N: perturbed models for each batch."""
    epochs: int = 10
    batch: int = 128
    learning_rate: float = 2e-3
    warm_up: int = 50
    """Steps over which the learning rate rises."""
    seed: int = 0


class GeneratorTraining:
    """One run, with its checkpoint and log in a folder.

    Args:
        recipe: what to do.
        base: the trained classifier; its weights are as they were written when the run ends.
        training: pictures to learn from.
        validation: pictures of other tracks, measured after each epoch on three chips.
        folder: where checkpoint.pt and log.jsonl are written.
    """

    def __init__(
        self, recipe: GeneratorRecipe, base: PerturbedNetwork, training: Signs, validation: Signs, folder: Path
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.training, self.validation, self.folder = recipe, training, validation, folder
        self.fuse = laid_out(make_fuse(recipe.generator))
        self.nominal, self.perturbed = base.restore(), copy.deepcopy(base)
        self.faults = FaultModel(recipe.bit_error_rate)
        self.optimiser = torch.optim.Adam(self.fuse.parameters(), lr=recipe.learning_rate, betas=(0.5, 0.999))
        self.epoch, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> Fuse:
        """Train to the last epoch, from where the folder's checkpoint left off."""
        self._resume()
        while self.epoch < self.recipe.epochs:
            began = time.monotonic()
            losses = self._pass()
            self.epoch += 1
            self.seconds += time.monotonic() - began
            self._save()
            self._log(losses)
        return self.fuse.eval()

    def _pass(self) -> tuple[float, float]:
        self.fuse.train()
        recipe = self.recipe
        steps = len(self.training) // recipe.batch
        random = np.random.default_rng((recipe.seed, self.epoch, 1))
        losses = []
        drawn = batches(self.training, size=recipe.batch, epoch=self.epoch, seed=recipe.seed)
        for index, (pictures, classes) in enumerate(tqdm(drawn, total=steps, desc=f"epoch {self.epoch + 1}")):
            for group in self.optimiser.param_groups:
                group["lr"] = self._learning_rate(self.epoch * steps + index, steps * recipe.epochs)
            self.optimiser.zero_grad(set_to_none=True)
            losses.append(self._descend(pictures, classes, random.integers(0, TRAINING_SEEDS, recipe.perturbed)))
            self.optimiser.step()
        nominal, low = np.mean(losses, axis=0)
        return float(nominal), float(low)

    def _descend(self, pictures: Tensor, classes: Tensor, seeds: NDArray[np.int64]) -> tuple[float, float]:
        """Equation 5: the classifiers' gradients are summed at F(x) and go through G once."""
        transformed = self.fuse(pictures)
        seen = transformed.detach().requires_grad_()
        nominal = functional.cross_entropy(self.nominal(seen), classes)
        nominal.backward()  # type: ignore[no-untyped-call]
        low = 0.0
        for seed in seeds:
            loss = functional.cross_entropy(self.perturbed.perturb(self.faults, int(seed))(seen), classes)
            (loss * (self.recipe.weight / len(seeds))).backward()  # type: ignore[no-untyped-call]
            low += float(loss.detach()) / len(seeds)
        transformed.backward(seen.grad)
        return float(nominal.detach()), low

    def _learning_rate(self, step: int, steps: int) -> float:
        recipe = self.recipe
        if step < recipe.warm_up:
            return recipe.learning_rate * (step + 1) / recipe.warm_up
        course = (step - recipe.warm_up) / max(1, steps - recipe.warm_up)
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * course))

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} belongs to a run with another recipe: {state['recipe']}")
        self.fuse.load_state_dict(state["fuse"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]

    def _save(self) -> None:
        state = {
            "fuse": self.fuse.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "recipe": asdict(self.recipe),
        }
        save(state, self.folder / "checkpoint.pt")

    def _log(self, losses: tuple[float, float]) -> None:
        self.fuse.eval()
        chips = (self.perturbed.perturb(self.faults, seed) for seed in TEST_SEEDS[:3])
        rows = [protected_accuracy(self.fuse, network, self.validation) for network in chain([self.nominal], chips)]
        row = {
            "epoch": self.epoch,
            "seconds": round(self.seconds, 1),
            "loss_nominal": round(losses[0], 4),
            "loss_low": round(losses[1], 4),
            "validation": [round(value, 4) for value in rows],
        }
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def make_fuse(name: str) -> Fuse:
    """F around a new generator, or around the input-independent baseline."""
    return Fuse(ConstantShift() if name == CONSTANT_SHIFT else GENERATORS[name]())


def protected_accuracy(fuse: nn.Module, network: nn.Module, signs: Signs) -> float:
    """Share of pictures that `network` classifies rightly after `fuse`."""
    return accuracy(nn.Sequential(fuse, network), signs)


@torch.no_grad()
def transform(fuse: nn.Module, signs: Signs, *, batch: int = 256) -> list[Tensor]:
    """F(x) of all pictures, in batches."""
    return [fuse(as_tensor(signs.pictures[start : start + batch])) for start in range(0, len(signs), batch)]
