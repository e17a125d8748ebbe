"""Training of generators by expectation over perturbed models (EOPM; paper, sections 3.2 and 3.3, algorithm 1).

The base classifier is frozen; each step reads its weights through fresh faulty cells. F(x) is computed once for a
batch, where the released code computes it again for each perturbed model: the same gradient for less.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from services.security.bit_errors.faults import TEST_SEEDS, FaultModel
from services.security.neuralfuse.training.base_training import TRAINING_SEEDS, accuracy
from services.security.neuralfuse.training.data import batches, laid_out
from services.security.neuralfuse.training.epochs import EpochRun
from services.security.neuralfuse.training.generators import GENERATORS, ConstantShift, Fuse
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from shared.datasets.traffic_signs import Signs

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
    start: str = ""
    """The folder of a finished run to go on from, beside this run's; none: from the beginning."""


class GeneratorTraining(EpochRun):
    """One run.

    Args:
        recipe: what to do.
        base: the trained classifier; its weights are as they were written when the run ends.
        training: pictures to learn from.
        validation: pictures of other tracks, measured after each epoch on three chips.
        folder: where checkpoint.pt and log.jsonl are written.
        start: what `recipe.start` ended with.
    """

    def __init__(
        self,
        recipe: GeneratorRecipe,
        base: PerturbedNetwork,
        training: Signs,
        validation: Signs,
        folder: Path,
        *,
        start: Fuse | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.training, self.validation = recipe, training, validation
        self.fuse = laid_out(make_fuse(recipe.generator))
        if start is not None:
            self.fuse.load_state_dict(start.state_dict())
        self.nominal, self.perturbed = base.restore(), copy.deepcopy(base)
        self.faults = FaultModel(recipe.bit_error_rate)
        self.optimiser = torch.optim.Adam(self.fuse.parameters(), lr=recipe.learning_rate, betas=(0.5, 0.999))
        super().__init__(recipe, self.fuse, self.optimiser, folder)

    def run(self) -> Fuse:
        """Train to the last epoch, from where the folder's checkpoint left off."""
        self.finish()
        return self.fuse

    def validate(self) -> list[float]:
        """Shares of validation pictures that are classified rightly: at nominal voltage, then on three chips."""
        chips = (self.perturbed.perturb(self.faults, seed) for seed in TEST_SEEDS[:3])
        networks = chain([self.nominal], chips)
        return [round(protected_accuracy(self.fuse, network, self.validation), 4) for network in networks]

    def train_epoch(self) -> dict[str, float]:
        """One pass over the training pictures."""
        recipe = self.recipe
        steps = len(self.training) // recipe.batch
        random = np.random.default_rng((recipe.seed, self.epoch, 1))
        losses = []
        drawn = batches(self.training, size=recipe.batch, epoch=self.epoch, seed=recipe.seed)
        for index, (pictures, classes) in enumerate(tqdm(drawn, total=steps, desc=f"epoch {self.epoch + 1}")):
            self.set_learning_rate(self.epoch * steps + index, steps * recipe.epochs)
            self.optimiser.zero_grad(set_to_none=True)
            losses.append(self._descend(pictures, classes, random.integers(0, TRAINING_SEEDS, recipe.perturbed)))
            self.optimiser.step()
        nominal, low = np.mean(losses, axis=0)
        return {"loss_nominal": round(float(nominal), 4), "loss_low": round(float(low), 4)}

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


def make_fuse(name: str) -> Fuse:
    """F around a new generator, or around the input-independent baseline."""
    return Fuse(ConstantShift() if name == CONSTANT_SHIFT else GENERATORS[name]())


def protected_accuracy(fuse: nn.Module, network: nn.Module, signs: Signs) -> float:
    """Share of pictures that `network` classifies rightly after `fuse`."""
    return accuracy(nn.Sequential(fuse, network), signs)
