"""What the job of a camouflage is put together from: a run that makes steps, and detectors that are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.detection.detectors import VehicleDetector
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.planning.plan import CamouflagePlan
from shared.runtime.cards import ModelReference


class StepReport(Protocol):
    """What is known of one step."""

    @property
    def losses(self) -> Mapping[str, float]:
        """Parts of the loss by name, without their weights."""

    @property
    def score(self) -> float:
        """The victim's best score on the car, mean over the pictures."""


class Run(Protocol):
    """Steps that change a texture; between two of them it can be saved."""

    @property
    def step_number(self) -> int:
        """Steps done."""

    def step(self) -> StepReport:
        """Make one step."""

    def texture(self) -> NDArray[np.float32]:
        """As it stands, float32 (side, side, 3), sRGB in [0, 1]."""

    def state(self) -> bytes:
        """For a checkpoint."""

    def restore(self, state: bytes) -> None:
        """Go on from a checkpoint; ends at the texture of an unbroken run."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run begins with.

    Attributes:
        plan: of it.
        mesh: that is painted.
        victim: the detector that the car is hidden from.
        pictures: backgrounds, uint8 RGB each; none for drawn streets.
        horizon: row of their horizon, as a share of the height.
        initial: float32 (side, side, 3), sRGB in [0, 1], that the texture begins with; None for the pattern's own.
    """

    plan: CamouflagePlan
    mesh: Mesh
    victim: ModelReference
    pictures: Sequence[NDArray[np.uint8]]
    horizon: float
    initial: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class VictimDigests:
    """What a victim was at a moment; SHA-256, hexadecimal.

    Attributes:
        file: of its file.
        tensors: of its weights in memory.
    """

    file: str
    tensors: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A run before its first step.

    Attributes:
        run: it.
        digests: says what its victim is now.
    """

    run: Run
    digests: Callable[[], VictimDigests]


@dataclass(frozen=True, slots=True)
class Parts:
    """How to make what a job needs.

    Attributes:
        begin: a run before its first step.
        detector: a detector that is asked what it finds.
    """

    begin: Callable[[Beginning], Begun]
    detector: Callable[[ModelReference], VehicleDetector]
