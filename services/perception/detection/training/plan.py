"""All runs behind the released detectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.perception.detection.detectors import VEHICLES as DEFAULT
from services.perception.detection.optimisation.backbones import BackboneOptions
from services.perception.detection.optimisation.construction import DetectorOptions
from services.perception.detection.training.data import CARLA, DetectionSource
from services.perception.detection.training.train import DetectionRecipe


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run and the data that it learns from and is measured on.

    Attributes:
        recipe: of the run.
        model: name that it is released under.
        source: of its data; it learns from `train` and is measured on `test`.
        short_side: of pictures, in pixels; as in their files where it is left out.
    """

    recipe: DetectionRecipe
    model: str
    source: DetectionSource
    short_side: int | None = None


VEHICLES: Final = ("vehicle",)
"""The one class that is learned of CARLA: of bicycles and motorcycles there are 188 boxes to learn from and 40 to be
measured on, and half of the traffic lights and signs are under 7 pixels."""

RUNS: Final[Mapping[str, PlannedRun]] = {
    "vehicles-two-stage": PlannedRun(DetectionRecipe(DetectorOptions(VEHICLES)), f"{DEFAULT}-two-stage", CARLA),
    "vehicles-single-stage": PlannedRun(
        DetectionRecipe(DetectorOptions(VEHICLES, "single-stage", BackboneOptions(trained_stages=4)), seed=1),
        DEFAULT,
        CARLA,
    ),
}
"""By the folder of each; the model without a suffix is what the route asks by default. The test part is Town05, of
which nothing is seen in training."""
