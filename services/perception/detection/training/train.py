"""Supervised training of either detector, resumable, the same for the same seed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from services.perception.detection.optimisation.augmentation import strong_view, weak_view
from services.perception.detection.optimisation.batches import drawn_places, pad_images, to_image
from services.perception.detection.optimisation.construction import DetectorOptions, make_detector, save
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.optimisers import (
    OptimiserOptions,
    make_optimiser,
    rate_factor,
    set_rates,
)
from services.perception.detection.training.data import DetectionSet

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class DetectionRecipe:
    """Everything that decides the weights, beside the data and the published weights of a backbone.

    Attributes:
        detector: what is trained.
        iterations: steps of the optimiser.
        batch: pictures of a step.
        optimiser: of all weights; after its warm-up, learning rates fall to zero as a cosine.
        clip: largest norm of gradients.
        scales: limits of the factor by which sizes of pictures vary.
        strong: share of pictures that are seen in their strong view.
        seed: of initial weights, order, views and samples.
    """

    detector: DetectorOptions
    iterations: int = 2500
    batch: int = 4
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    clip: float = 5.0
    scales: tuple[float, float] = (0.8, 1.2)
    strong: float = 0.3
    seed: int = 0


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        iteration: steps done.
        seconds: that they took.
        losses: of the steps since the last line of the log, by name.
    """

    iteration: int = 0
    seconds: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=dict)

    def add(self, losses: Mapping[str, Tensor], seconds: float) -> None:
        """Count a step."""
        self.iteration += 1
        self.seconds += seconds
        for name, value in losses.items():
            self.losses.setdefault(name, []).append(float(value.detach()))

    def take_means(self) -> dict[str, float]:
        """Means of the losses since the last call."""
        means = {name: round(float(np.mean(values)), 4) for name, values in self.losses.items()}
        self.losses.clear()
        return means


class DetectorTraining:
    """One run; its folder gets checkpoint.pt and log.jsonl.

    Args:
        recipe: what to do.
        sets: pictures to learn from; each set gives as many of a step.
        folder: of the run.
        initial: detector that training begins from, and that is changed; a new one by default.
        weights: the published state of EfficientNet-Lite0, for that backbone.
        save_every: steps between checkpoints, at which a line is logged too.
        device: that is computed on; on a GPU the same seed gives nearly the same weights, since sums are in any order.
    """

    def __init__(
        self,
        recipe: DetectionRecipe,
        sets: Sequence[DetectionSet],
        folder: Path,
        *,
        initial: Detector | None = None,
        weights: Mapping[str, Tensor] | None = None,
        save_every: int = 100,
        device: str = "cpu",
    ) -> None:
        for data in sets:
            if recipe.detector.classes != data.classes:
                raise ValueError(f"the detector finds {recipe.detector.classes}, the data hold {data.classes}")
        if not sets or recipe.batch % len(sets):
            raise ValueError(f"a batch of {recipe.batch} pictures is not divided among {len(sets)} sets")
        torch.manual_seed(recipe.seed)
        self.recipe, self.sets, self.folder, self.save_every = recipe, sets, folder, save_every
        # A fifth faster on CPUs, by the depthwise convolutions; nothing else depends on it.
        self.device = device
        detector = (initial or make_detector(recipe.detector, weights)).to(device)
        self.detector: Detector = detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        slow = "backbone.body." if recipe.detector.backbone.kind == "lite0" else None
        self.optimiser = make_optimiser({"": self.detector}, recipe.optimiser, slow=slow)
        self.progress = Progress()
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> Detector:
        """Train to the last step, from where the folder's checkpoint left off."""
        self._resume()
        self.detector.train()
        steps = range(self.progress.iteration, self.recipe.iterations)
        for iteration in tqdm(steps, initial=self.progress.iteration, total=self.recipe.iterations):
            began = time.monotonic()
            losses = self._step(iteration)
            self.progress.add(losses, time.monotonic() - began)
            if self.progress.iteration % self.save_every == 0 or self.progress.iteration == self.recipe.iterations:
                self._log()
                self._save()
        return self.detector.eval()

    def _step(self, iteration: int) -> dict[str, Tensor]:
        recipe = self.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + iteration)  # samples of a step are the same after a resume
        images, targets = draw_batch(self.sets, recipe, iteration)
        images = images.to(self.device, memory_format=torch.channels_last)
        set_rates(self.optimiser, rate_factor(iteration, warm_up=recipe.optimiser.warm_up, total=recipe.iterations))
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.detector.losses(images, [target.to(self.device) for target in targets])
        total = torch.stack(list(losses.values())).sum()
        if not bool(total.isfinite()):
            raise FloatingPointError(f"losses of step {iteration} are {losses}")
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.detector.parameters(), recipe.clip)
        self.optimiser.step()
        return losses

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} belongs to a run with another recipe: {state['recipe']}")
        self.detector.load_state_dict(state["detector"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(state["iteration"], state["seconds"])

    def _save(self) -> None:
        state: dict[str, Any] = {
            "detector": self.detector.state_dict(),
            "options": asdict(self.recipe.detector),
            "recipe": asdict(self.recipe),
            "optimiser": self.optimiser.state_dict(),
            "iteration": self.progress.iteration,
            "seconds": self.progress.seconds,
        }
        save(state, self.folder / CHECKPOINT)

    def _log(self) -> None:
        means = self.progress.take_means()
        row = {"iteration": self.progress.iteration, "seconds": round(self.progress.seconds, 1), **means}
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def draw_batch(sets: Sequence[DetectionSet], recipe: DetectionRecipe, iteration: int) -> tuple[Tensor, list[Targets]]:
    """The pictures of a step, as many of each set, and their views."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + iteration)
    images, targets = [], []
    for number, data in enumerate(sets):
        for index in drawn_places(len(data), recipe.batch // len(sets), iteration, (recipe.seed + number,)):
            picture = to_image(data.images[index])
            image, target = weak_view(picture, data.targets[index], generator, scales=recipe.scales)
            if float(torch.rand((), generator=generator)) < recipe.strong:
                image = strong_view(image, generator)
            images.append(image)
            targets.append(target)
    return pad_images(images), targets
