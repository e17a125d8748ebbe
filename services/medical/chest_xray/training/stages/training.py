"""The training loop of every stage: epochs of a fixed number of steps, validated and saved one by one, resumable.

A checkpoint holds all that the next epoch depends on, and batches and dropout depend on the seed and the step alone, so
a run that was killed goes on to the same weights.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.stages.freezing import train_only
from services.medical.chest_xray.training.stages.schedule import Plateau, ScheduleOptions

CHECKPOINT: Final = "checkpoint.pt"
LOG: Final = "log.jsonl"


class Movable(Protocol):
    """A batch that can be on a device."""

    def to(self, device: torch.device) -> Self:
        """The same there."""


Drawn = TypeVar("Drawn", bound=Movable)


@dataclass(frozen=True, slots=True)
class StageOptions:
    """How long a stage trains, beside its schedule.

    Attributes:
        epochs: at most.
        steps: of an epoch.
        batch: films of a step.
        schedule: of the learning rate.
        clip: largest norm of gradients.
    """

    epochs: int = 50
    steps: int = 50
    batch: int = 16
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    clip: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Stage(Generic[Drawn]):
    """What a stage does.

    Attributes:
        name: of it, and of its folder.
        options: how long.
        trained: parts of the network that it trains.
        extra: modules that only this stage needs, such as a head for tags.
        draw: the batch of a step.
        losses: of a batch by name; their sum is what is minimised.
        validate: the loss that the schedule goes by.
    """

    name: str
    options: StageOptions
    trained: Sequence[nn.Module]
    extra: nn.Module
    draw: Callable[[int], Drawn]
    losses: Callable[[Drawn], Mapping[str, Tensor]]
    validate: Callable[[], float]


class StageTraining(Generic[Drawn]):
    """One stage of a run; its folder gets checkpoint.pt and log.jsonl.

    Args:
        network: trained in place; it ends with the weights that validated best.
        stage: what to do.
        folder: of the stage.
        recipe: what decides the weights, as JSON; a checkpoint of another is refused.
        seed: of dropout.
    """

    def __init__(
        self, network: ChestXrayNetwork, stage: Stage[Drawn], folder: Path, *, recipe: Mapping[str, Any], seed: int
    ) -> None:
        self.network, self.stage, self.folder, self.recipe, self.seed = network, stage, folder, dict(recipe), seed
        train_only(network, stage.trained)
        stage.extra.to(network.device)
        parameters = [one for one in [*network.parameters(), *stage.extra.parameters()] if one.requires_grad]
        self.parameters = parameters
        self.optimiser = torch.optim.Adam(parameters, lr=stage.options.schedule.learning_rate)
        self.plateau = Plateau(stage.options.schedule.learning_rate)
        self.epoch, self.seconds, self.finished = 0, 0.0, False
        self.best: dict[str, Tensor] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, *, epochs: int | None = None) -> None:
        """Train to the end, from where the folder's checkpoint left off.

        Args:
            epochs: to stop after so many of this call, for tests of resuming.
        """
        self._resume()
        done = 0
        while not self.finished and (epochs is None or done < epochs):
            self._run_epoch()
            done += 1
        if self.finished:
            self.network.load_state_dict(self.best)
            self.network.eval()

    def _run_epoch(self) -> None:
        began, options = time.monotonic(), self.stage.options
        train_only(self.network, self.stage.trained)
        for group in self.optimiser.param_groups:
            group["lr"] = self.plateau.rate
        first = self.epoch * options.steps
        sums: dict[str, list[float]] = {}
        for step in tqdm(range(first, first + options.steps), desc=f"{self.stage.name} {self.epoch}", mininterval=5):
            for name, value in self._step(step).items():
                sums.setdefault(name, []).append(value)
        self.network.eval()
        with torch.no_grad():
            loss = self.stage.validate()
        self._count(loss)
        self.seconds += time.monotonic() - began
        self._log({name: round(float(np.mean(values)), 4) for name, values in sums.items()}, loss)
        self._save()

    def _step(self, step: int) -> dict[str, float]:
        torch.manual_seed(self.seed * 1_000_003 + step)  # dropout is the same after a resume
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.stage.losses(self.stage.draw(step).to(self.network.device))
        total = torch.stack(list(losses.values())).sum()
        if not bool(total.isfinite()):
            raise FloatingPointError(f"losses of step {step} of {self.stage.name} are {losses}")
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, self.stage.options.clip)
        self.optimiser.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _count(self, loss: float) -> None:
        schedule = self.stage.options.schedule
        if not math.isfinite(loss):
            raise FloatingPointError(f"validation of {self.stage.name} gives {loss}")
        better, falls = self.plateau.take(loss, schedule)
        if better:
            self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        elif falls:
            self.network.load_state_dict(self.best)
        self.epoch += 1
        self.finished = self.epoch >= self.stage.options.epochs or self.plateau.ended(schedule)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location=self.network.device, weights_only=True)
        if state["recipe"] != self.recipe:
            raise ValueError(f"{path} belongs to a run with another recipe: {state['recipe']}")
        self.network.load_state_dict(state["network"])
        self.stage.extra.load_state_dict(state["extra"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.plateau, self.best = Plateau(**state["plateau"]), state["best"]
        self.epoch, self.seconds, self.finished = state["epoch"], state["seconds"], state["finished"]

    def _save(self) -> None:
        state = {
            "recipe": self.recipe,
            "network": self.network.state_dict(),
            "extra": self.stage.extra.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "plateau": self.plateau.state(),
            "best": self.best,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "finished": self.finished,
        }
        save_whole(state, self.folder / CHECKPOINT)

    def _log(self, losses: dict[str, float], validation: float) -> None:
        row = {"epoch": self.epoch, "seconds": round(self.seconds, 1), "rate": self.plateau.rate}
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps({**row, **losses, "validation": round(validation, 5)}) + "\n")


def save_whole(state: Mapping[str, Any], path: Path) -> None:
    """`torch.save` by way of a second file: a crash leaves either the old file or the new one."""
    unfinished = path.with_suffix(".part")
    torch.save(dict(state), unfinished)
    unfinished.replace(path)
