"""The training loop of both stages: fixed budget of steps, resumable, with an averaged copy of the weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from services.medical.low_dose_ct.training.data import Batch
from services.medical.low_dose_ct.training.losses import Loss
from services.medical.low_dose_ct.training.network import DRUNet

Draw = Callable[[np.random.Generator], Batch]
Measure = Callable[[DRUNet], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a training run may spend, and its optimiser's course."""

    steps: int
    learning_rate: float = 1e-3
    warm_up: int = 200
    averaging: float = 0.999
    clip: float = 1.0
    seed: int = 0
    checkpoint_every: int = 500


def learning_rate(step: int, budget: Budget) -> float:
    """Learning rate at a step: linear warm-up, then a cosine down to zero at the end of the budget."""
    if step < budget.warm_up:
        return budget.learning_rate * (step + 1) / budget.warm_up
    course = (step - budget.warm_up) / max(1, budget.steps - budget.warm_up)
    return budget.learning_rate * 0.5 * (1 + math.cos(math.pi * course))


def averaging_update(most: float) -> Callable[[Any, Any, Any], None]:
    """Exponential average whose memory grows with the run, so that a short run forgets its start too."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        past = float(count)
        decay = min(most, (1 + past) / (10 + past))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    return update


class Training:
    """One run: draws batches, steps Adam, keeps an exponential average of the weights, checkpoints and resumes.

    Args:
        network: the network to train, in place.
        draw: returns one batch for a given random generator.
        loss: compares prediction and target.
        budget: steps and optimiser settings.
        folder: where checkpoint.pt, log.jsonl and budget.json are written.
        measure: validation metrics of a network, taken at each checkpoint.
        device: where to train ("cpu", "cuda").
    """

    def __init__(
        self,
        network: DRUNet,
        draw: Draw,
        loss: Loss,
        budget: Budget,
        folder: Path,
        *,
        measure: Measure | None = None,
        device: str = "cpu",
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(self.network, multi_avg_fn=averaging_update(budget.averaging))
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=budget.learning_rate)
        self.draw, self.loss, self.budget, self.measure = draw, loss, budget, measure
        self.folder, self.device, self.step = folder, device, 0
        self.seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where the run's state lies between two steps."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one.

        Raises:
            ValueError: the checkpoint belongs to a run with another budget.
        """
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if state.get("budget", asdict(self.budget)) != asdict(self.budget):
            raise ValueError(f"{self.checkpoint} belongs to a run with another budget: {state['budget']}")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint so that a crash leaves either the old one or the new one."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "budget": asdict(self.budget),
        }
        unfinished = self.checkpoint.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self.checkpoint)

    def run(self) -> DRUNet:
        """Train to the end of the budget and return the averaged network."""
        self.resume()
        total = 0.0
        with tqdm(total=self.budget.steps, initial=self.step, unit="step", mininterval=5) as bar:
            while self.step < self.budget.steps:
                began = time.monotonic()
                total += self._advance()
                self.seconds += time.monotonic() - began
                bar.update()
                if self.step % self.budget.checkpoint_every == 0 or self.step == self.budget.steps:
                    self._report(total / ((self.step - 1) % self.budget.checkpoint_every + 1))
                    total = 0.0
        return self.averaged()

    def averaged(self) -> DRUNet:
        """The network with averaged weights."""
        network = self.average.module.eval()
        assert isinstance(network, DRUNet)  # noqa: S101 - for the type checker: AveragedModel copies what it is given
        return network

    def _advance(self) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.budget)
        random = np.random.default_rng((self.budget.seed, self.step))
        noisy, level, clean = (part.to(self.device) for part in self.draw(random))
        loss = self.loss(self.network(noisy.contiguous(memory_format=torch.channels_last), level), clean)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.budget.clip)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return float(loss.detach())

    def _report(self, mean_loss: float) -> None:
        self.save()
        row: dict[str, float] = {"step": self.step, "seconds": round(self.seconds, 1), "loss": mean_loss}
        if self.measure is not None:
            row |= self.measure(self.averaged())
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
