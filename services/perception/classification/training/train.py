"""The training loop: stochastic gradient descent over a fixed number of epochs, resumable after each of them."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from services.perception.classification.training.data import as_tensor, batches
from services.perception.classification.training.network import WIDTHS, ResNet18
from shared.datasets.traffic_signs import Signs


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the weights, beside the data."""

    width: str = "half"
    epochs: int = 12
    batch: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warm_up: int = 200
    """Steps over which the learning rate rises."""
    seed: int = 0


class Training:
    """One run, with its checkpoint and log in a folder.

    Args:
        recipe: what to do.
        training: pictures to learn from.
        validation: pictures of other tracks, measured after each epoch.
        folder: where checkpoint.pt and log.jsonl are written.
        device: where to train ("cpu", "cuda").
    """

    def __init__(
        self, recipe: Recipe, training: Signs, validation: Signs, folder: Path, *, device: str = "cpu"
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.training, self.validation = recipe, training, validation
        self.folder, self.device = folder, device
        self.network = ResNet18(width=WIDTHS[recipe.width]).to(device)
        self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
        )
        self.epoch, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> ResNet18:
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
        steps = len(self.training) // self.recipe.batch
        losses = []
        drawn = batches(self.training, size=self.recipe.batch, epoch=self.epoch, seed=self.recipe.seed)
        for index, (pictures, classes) in enumerate(tqdm(drawn, total=steps, desc=f"epoch {self.epoch + 1}")):
            rate = learning_rate(self.epoch * steps + index, self.recipe, steps=steps * self.recipe.epochs)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            inputs = pictures.to(self.device).contiguous(memory_format=torch.contiguous_format)
            loss = functional.cross_entropy(self.network(inputs), classes.to(self.device))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} belongs to a run with another recipe: {state['recipe']}")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]

    def _save(self) -> None:
        """Write the checkpoint so that a crash leaves either the old one or the new one."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "recipe": asdict(self.recipe),
        }
        unfinished = self.folder / "checkpoint.part"
        torch.save(state, unfinished)
        unfinished.replace(self.folder / "checkpoint.pt")

    def _log(self, loss: float) -> None:
        correct = logits(self.network, self.validation, device=self.device).argmax(1) == self.validation.classes
        row = {
            "epoch": self.epoch,
            "seconds": round(self.seconds, 1),
            "loss": round(loss, 4),
            "validation": round(float(correct.mean()), 4),
        }
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def learning_rate(step: int, recipe: Recipe, *, steps: int) -> float:
    """Linear warm-up, then a cosine down to zero after `steps` steps."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    course = (step - recipe.warm_up) / max(1, steps - recipe.warm_up)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * course))


@torch.no_grad()
def logits(network: ResNet18, signs: Signs, *, device: str = "cpu", batch: int = 256) -> NDArray[np.float32]:
    """Logits (count, classes) of all pictures, in evaluation mode."""
    network.eval()
    parts = [
        network(as_tensor(signs.pictures[start : start + batch]).to(device)).cpu().numpy()
        for start in range(0, len(signs), batch)
    ]
    return np.concatenate(parts)
