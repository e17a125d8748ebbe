"""A whole run: its stages one after the other, then the linear heads and calibration, and what is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.heads.temperatures import fit_temperature
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.networks.options import options_of
from services.medical.chest_xray.training.stages.features import pooled_features
from services.medical.chest_xray.training.stages.films import FilmFolder
from services.medical.chest_xray.training.stages.final_heads import adjust_priors, fit_opacity
from services.medical.chest_xray.training.stages.objectives import Pooled, Stages
from services.medical.chest_xray.training.stages.recipes import Recipe
from services.medical.chest_xray.training.stages.training import CHECKPOINT, StageTraining, save_whole

FINISHED: Final = "network.pt"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was chosen on validation films.

    Attributes:
        temperature: that class logits are divided by.
        opacity_temperature: likewise of the opacity logit.
    """

    temperature: float = 1.0
    opacity_temperature: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A trained network with all that is stated beside it.

    Attributes:
        network: in evaluation mode.
        calibration: of it.
        recipe: as `asdict` made it.
        hours: of its stages.
    """

    network: ChestXrayNetwork
    calibration: Calibration
    recipe: Mapping[str, Any]
    hours: float


class TrainingRun:
    """Trains a recipe; a run that was cut off goes on where it was.

    Args:
        recipe: what to do.
        folder: of the run; each stage has one below it.
        films: to learn from.
        weights: the published state of EfficientNet-Lite0, for that first encoder.
        device: that is computed on; on a GPU the same seed gives nearly the same weights, since sums are in any order.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        films: FilmFolder,
        *,
        weights: Mapping[str, Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(recipe.seed)
        network = ChestXrayNetwork(recipe.network, weights)
        self.network: ChestXrayNetwork = network.to(device).to(  # type: ignore[call-overload]
            memory_format=torch.channels_last
        )
        self.network.lower_precision = recipe.bfloat16
        self.recipe, self.folder, self.films, self.seconds = recipe, folder, films, 0.0

    def run(self) -> FinishedRun:
        """Train to the end; a finished run is read."""
        if (self.folder / FINISHED).exists():
            return read_run(self.folder, self.recipe)
        recipe, stages = self.recipe, self._stages()
        for options, make in (
            (recipe.pretraining, stages.pretraining),
            (recipe.contrastive, stages.contrastive),
            (recipe.classifier, stages.classifier),
            (recipe.attention, stages.attention),
            (recipe.joint, stages.joint),
        ):
            if options is not None:
                torch.manual_seed(recipe.seed)  # of what belongs to the stage alone, such as its head for tags
                self._train(make(options))
        calibration = self._fit_heads(stages)
        state = {
            "network": self.network.state_dict(),
            "recipe": asdict(recipe),
            "calibration": asdict(calibration),
            "seconds": self.seconds,
        }
        save_whole(state, self.folder / FINISHED)
        return read_run(self.folder, recipe)

    def _stages(self) -> Stages:
        train, val = (self.films.sources(self.recipe, split) for split in ("train", "val"))
        return Stages(self.network, self.recipe, train, val)

    def _train(self, stage: Any) -> None:
        training = StageTraining(
            self.network, stage, self.folder / stage.name, recipe=asdict(self.recipe), seed=self.recipe.seed
        )
        training.run()
        self.seconds += training.seconds

    def _fit_heads(self, stages: Stages) -> Calibration:
        recipe, train, val = self.recipe, self.films.films(self.recipe, "train"), self.films.films(self.recipe, "val")
        pooled, pooled_val = self._pooled(train, recipe.views), self._pooled(val, 1)
        labels_val = torch.from_numpy(stages.val.real.labels)
        if recipe.fusion is not None:
            labels = torch.from_numpy(stages.train.real.labels).repeat(recipe.views)
            self._train(stages.fusion(recipe.fusion, Pooled(pooled, labels), Pooled(pooled_val, labels_val)))
        adjust_priors(self.network.classifier, stages.train.real.labels)
        if self.network.fusion is not None:
            adjust_priors(self.network.fusion.output, stages.train.real.labels)
        opacity = fit_opacity(self.network, (train, pooled.numpy()), (val, pooled_val.numpy()))
        with torch.no_grad():
            self.network.eval()
            logits = self.network.diagnose(pooled_val.to(self.network.device)).cpu()
        return Calibration(fit_temperature(logits.numpy(), stages.val.real.labels), opacity)

    def _pooled(self, films: PreparedFilms, views: int) -> Tensor:
        augmentation, seed = self.recipe.augmentation, self.recipe.seed
        return pooled_features(self.network, films.arrays, augmentation=augmentation, views=views, seed=seed)


def read_run(folder: Path, recipe: Recipe | None = None) -> FinishedRun:
    """A finished run.

    Raises:
        FileNotFoundError: it is not finished, or there is none.
        ValueError: it is of another recipe.
    """
    state = torch.load(folder / FINISHED, map_location="cpu", weights_only=True)
    if recipe is not None and state["recipe"] != asdict(recipe):
        raise ValueError(f"{folder} holds a run with another recipe: {state['recipe']}")
    network = ChestXrayNetwork(options_of(state["recipe"]["network"]))
    network.load_state_dict(state["network"])
    calibration = Calibration(**state["calibration"])
    return FinishedRun(network.eval(), calibration, state["recipe"], state["seconds"] / 3600)


def read_stage(folder: Path, recipe: Recipe) -> ChestXrayNetwork:
    """The best weights of a stage so far, out of its folder."""
    state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    network = ChestXrayNetwork(recipe.network)
    network.load_state_dict(state["best"])
    return network.eval()
