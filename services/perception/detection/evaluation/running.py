"""Trains and measures the detectors of experiments; a run that was cut off goes on, and a beginning is shared."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from tqdm import tqdm

from services.optimisation.divergence import Diverged
from services.perception.detection.evaluation.choices import Pilot
from services.perception.detection.evaluation.experiments import CLASSES, SHORT_SIDE, Experiment
from services.perception.detection.optimisation.adaptation import Adaptation
from services.perception.detection.optimisation.construction import save
from services.perception.detection.training.data import BLOOD_CELLS, DetectionSet, read_detection_set
from services.perception.detection.training.evaluate import evaluate
from services.training.packages import published_weights

_SAVED_EVERY: Final = 50


@dataclass
class Runner:
    """Runs experiments.

    Attributes:
        data: folder of all data sets.
        folder: for checkpoints.
        burn_in: steps with labels alone.
        steps: steps after them.
    """

    data: Path
    folder: Path
    burn_in: int
    steps: int
    _sets: dict[tuple[str, str], DetectionSet] = field(default_factory=dict)

    @cached_property
    def _weights(self) -> Mapping[str, Tensor]:
        return published_weights()

    def run(self, experiment: Experiment | Pilot) -> dict[str, Any]:
        """Train a detector and measure it on the test pictures of the target and of each source."""
        recipe = experiment.recipe(burn_in=self.burn_in, steps=self.steps)
        adaptation = Adaptation(
            recipe,
            [self._read(origin, "train") for origin in experiment.sources],
            self._read(experiment.target, "train").images if recipe.sees_target else [],
            weights=self._weights if experiment.backbone == "imagenet" else None,
        )
        checkpoint = self.folder / f"{experiment.key.replace('/', '-')}.pt"
        beginning = self.folder / f"burn-in-{experiment.burn_in_key}.pt"
        seconds = self._restore(adaptation, checkpoint, beginning)
        ended, began_s = None, time.monotonic()
        try:
            for _ in tqdm(range(adaptation.step, recipe.total), desc=experiment.key, initial=adaptation.step):
                adaptation.advance()
                if adaptation.step % _SAVED_EVERY == 0 or adaptation.step == recipe.burn_in:
                    self._save(adaptation, checkpoint, beginning, seconds + time.monotonic() - began_s)
        except Diverged as diverged:
            ended = str(diverged)
        seconds += time.monotonic() - began_s
        line = {
            "key": experiment.key,
            "target": experiment.target,
            "backbone": experiment.backbone,
            "method": experiment.method,
            "seed": experiment.seed,
            "burn_in": self.burn_in,
            "steps": self.steps,
            "figures": evaluate(adaptation.teacher, self._read(experiment.target, "test")).as_dict(),
            "sources": {
                origin: evaluate(adaptation.teacher, self._read(origin, "test")).as_dict()
                for origin in experiment.sources
                if origin != experiment.target
            },
            "labels_per_picture": round(adaptation.guard.labels_per_picture, 2),
            "capped": adaptation.guard.capped,
            "ended": ended,
            "seconds": round(seconds, 1),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        }
        checkpoint.unlink(missing_ok=True)
        return line

    def _read(self, origin: str, split: str) -> DetectionSet:
        if (origin, split) not in self._sets:
            self._sets[origin, split] = read_detection_set(
                self.data, BLOOD_CELLS, split, classes=CLASSES, domains=[origin], short_side=SHORT_SIDE
            )
        return self._sets[origin, split]

    def _restore(self, adaptation: Adaptation, checkpoint: Path, beginning: Path) -> float:
        """Go on from what there is; returns the seconds that were spent on it."""
        for path in (checkpoint, beginning):
            if path.exists():
                state = torch.load(path, weights_only=True)
                adaptation.restore(state["adaptation"])
                return float(state["seconds"])
        return 0.0

    def _save(self, adaptation: Adaptation, checkpoint: Path, beginning: Path, seconds: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        at_end = adaptation.step == adaptation.recipe.burn_in
        save({"adaptation": adaptation.state(), "seconds": seconds}, beginning if at_end else checkpoint)
