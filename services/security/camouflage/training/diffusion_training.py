"""A run of training that can be cut off at any time: checkpoint.pt and log.jsonl in a folder.

Batches, noise and steps follow from the seed and the number of a step, so that a resumed run draws what an unbroken one
would.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from services.security.camouflage.optimisation.patterns.diffusion import STEPS, NoisePredictor
from services.security.camouflage.training.data import Photographs, draw_batch

_SAVED_EVERY = 250
_VALIDATION = 256
"""Pictures that validation looks at, the same ones each time."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the weights.

    Attributes:
        steps: batches.
        batch: pictures of each.
        learning_rate: the highest.
        warm_up: steps over which it rises; a cosine falls to zero from there.
        decay: of the running mean of weights that is released.
        seed: of everything drawn.
        least_step: of the noise schedule that is learned; decodings in six evaluations pass none below 42, where most
            of an even loss lies.
        start: folder of a run, beside this one, whose mean weights are the first; none if empty.
    """

    steps: int = 2500
    batch: int = 16
    learning_rate: float = 1e-3
    warm_up: int = 200
    decay: float = 0.998
    seed: int = 0
    least_step: int = 0
    start: str = ""


class DiffusionTraining:
    """Trains the network of a folder.

    Args:
        recipe: what to do.
        photos: to train with.
        held_out: to validate with.
        folder: of checkpoint and log.
        device: that computes.
    """

    def __init__(
        self, recipe: Recipe, photos: Photographs, held_out: Photographs, folder: Path, device: str = "cpu"
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.device = recipe, folder, torch.device(device)
        self._photos, self._held_out = photos, held_out
        self.network = NoisePredictor().to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.start:
            self.network.load_state_dict(_mean_weights(folder.parent / recipe.start))
        self.mean = copy.deepcopy(self.network).eval().requires_grad_(requires_grad=False)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Do the steps that are left, from where the folder's checkpoint left off.

        Raises:
            ValueError: the folder belongs to a run with another recipe.
        """
        self._resume()
        progress = tqdm(total=self.recipe.steps, initial=self.step, mininterval=30, desc="diffusion")
        began, losses = time.monotonic(), []
        while self.step < self.recipe.steps:
            losses.append(self.advance())
            progress.update()
            if self.step % _SAVED_EVERY == 0 or self.step == self.recipe.steps:
                found = self.validate()
                self.seconds += time.monotonic() - began
                began = time.monotonic()
                self._log({"loss": float(np.mean(losses)), "validation": found})
                progress.set_postfix(loss=f"{np.mean(losses):.4f}", validation=f"{found:.4f}")
                losses.clear()
                self._save()
        progress.close()

    def advance(self) -> float:
        """One batch; returns its loss."""
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, self.step))
        pictures = torch.from_numpy(draw_batch(self._photos, recipe.batch, rng)).to(self.device)
        self._set_learning_rate()
        loss = self._loss(self.network, pictures, rng)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        decay = min(recipe.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, weight in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
        self.step += 1
        return float(loss.detach())

    @torch.no_grad()
    def validate(self) -> float:
        """Loss of the mean weights on held-out photographs and textures in their colours."""
        rng = np.random.default_rng((self.recipe.seed, 2**31))
        losses = []
        for _ in range(_VALIDATION // self.recipe.batch):
            pictures = torch.from_numpy(draw_batch(self._held_out, self.recipe.batch, rng)).to(self.device)
            losses.append(float(self._loss(self.mean, pictures, rng)))
        return float(np.mean(losses))

    def _loss(self, network: NoisePredictor, pictures: Tensor, rng: np.random.Generator) -> Tensor:
        """Mean squared error of the velocity at steps that are spread evenly over the batch."""
        size = len(pictures)
        least = self.recipe.least_step
        places = least + (np.arange(size) + rng.random(size)) / size * (STEPS - least)
        steps = torch.from_numpy(rng.permutation(places.astype(np.int64))).to(self.device)
        drawn = rng.standard_normal(pictures.shape, dtype=np.float32)
        noise = torch.from_numpy(drawn).to(self.device)
        picture_part, noise_part = (one[steps].reshape(-1, 1, 1, 1) for one in (network.picture, network.noise))
        noisy = picture_part * pictures + noise_part * noise
        with torch.autocast(self.device.type, torch.bfloat16):
            found = network.velocity(noisy.contiguous(memory_format=torch.channels_last), steps)
        return torch.nn.functional.mse_loss(found.float(), picture_part * noise - noise_part * pictures)

    def _set_learning_rate(self) -> None:
        recipe = self.recipe
        course = (self.step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
        falling = 0.5 * (1 + math.cos(math.pi * max(0.0, course)))
        rate = recipe.learning_rate * min(1.0, (self.step + 1) / recipe.warm_up) * falling
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} belongs to a run with another recipe: {state['recipe']}")
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def _save(self) -> None:
        """Write the checkpoint so that a crash leaves either the old one or the new one."""
        state = {
            "recipe": asdict(self.recipe),
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        unfinished = self.folder / "checkpoint.part"
        torch.save(state, unfinished)
        unfinished.replace(self.folder / "checkpoint.pt")

    def _log(self, values: dict[str, float]) -> None:
        row: dict[str, Any] = {"step": self.step, "seconds": round(self.seconds, 1), **values}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def _mean_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["mean"]
    return weights
