"""A run of epochs that can be cut off at any time: checkpoint.pt and log.jsonl in a folder."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn


class Recipe(Protocol):
    """What decides the weights; a frozen dataclass of numbers and names."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def epochs(self) -> int:
        """How many."""

    @property
    def learning_rate(self) -> float:
        """The highest."""

    @property
    def warm_up(self) -> int:
        """Steps over which the learning rate rises."""


class EpochRun(ABC):
    """Trains a module epoch by epoch.

    Args:
        recipe: what to do.
        module: that is trained.
        optimiser: of its parameters.
        folder: of checkpoint and log.
    """

    def __init__(self, recipe: Recipe, module: nn.Module, optimiser: torch.optim.Optimizer, folder: Path) -> None:
        self._recipe, self._module, self._optimiser, self._folder = recipe, module, optimiser, folder
        self.epoch, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        """Train to the last epoch, from where the folder's checkpoint left off; evaluation mode at the end.

        Raises:
            ValueError: the folder belongs to a run with another recipe.
        """
        self.resume()
        while self.epoch < self._recipe.epochs:
            began = time.monotonic()
            self._module.train()
            losses = self.train_epoch()
            self.epoch += 1
            self.seconds += time.monotonic() - began
            self.save()
            self._module.eval()
            self._log({**losses, "validation": self.validate()})
        self._module.eval()

    @abstractmethod
    def train_epoch(self) -> dict[str, float]:
        """One epoch; returns its losses by name."""

    @abstractmethod
    def validate(self) -> float | list[float]:
        """Accuracies after an epoch."""

    def set_learning_rate(self, step: int, steps: int) -> None:
        """Linear warm-up, then a cosine down to zero after `steps` steps."""
        recipe = self._recipe
        if step < recipe.warm_up:
            rate = recipe.learning_rate * (step + 1) / recipe.warm_up
        else:
            course = (step - recipe.warm_up) / max(1, steps - recipe.warm_up)
            rate = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * course))
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def resume(self) -> None:
        """Take up the folder's checkpoint, if there is one."""
        path = self._folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self._recipe):
            raise ValueError(f"{path} belongs to a run with another recipe: {state['recipe']}")
        self._module.load_state_dict(state["module"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint so that a crash leaves either the old one or the new one."""
        state = {
            "module": self._module.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "recipe": asdict(self._recipe),
        }
        unfinished = self._folder / "checkpoint.part"
        torch.save(state, unfinished)
        unfinished.replace(self._folder / "checkpoint.pt")

    def _log(self, values: Mapping[str, float | list[float]]) -> None:
        row = {"epoch": self.epoch, "seconds": round(self.seconds, 1), **values}
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
