"""The detectors that can be asked here, released or uploaded."""

from __future__ import annotations

from typing import Final

from shared.detectors.models import Detector, read_detector
from shared.detectors.roles import PARAMETER
from shared.problems import ServiceUnavailable, field_problem
from shared.runtime.models.registry import ModelRegistry
from shared.runtime.models.role_models import RoleModels

VEHICLES: Final = "vehicle-detector"
"""Name of the detector that is asked where a request names none; where it is not here, the first by name is."""


class Detectors(RoleModels[Detector]):
    """Finds detectors by name."""

    def __init__(self) -> None:
        super().__init__(read_detector, default_detector)


def list_detectors(registry: ModelRegistry) -> list[str]:
    """Names of the detectors that answer by default, in their order."""
    return [one.card.name for one in registry.entries if one.is_default and PARAMETER in one.card.parameters]


def default_detector(registry: ModelRegistry) -> str:
    """Name of the detector that is asked where a request names none.

    Raises:
        ServiceUnavailable: models are still loading.
        UnprocessableContent: there is none.
    """
    names = list_detectors(registry)
    if names:
        return VEHICLES if VEHICLES in names else names[0]
    if not registry.opened:
        raise ServiceUnavailable("The models are loading. /health/ready says when they are ready.", retry_after_s=5)
    raise field_problem("/body/model", "No detector is released here. Upload one, and name it as `model`.")
