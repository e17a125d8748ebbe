"""Detectors of the fleet that a run names: found when it is asked for, and as the same files again by its job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from services.released import open_artifacts
from services.security.camouflage.detection.vehicles import vehicle_labels
from shared.detectors.models import require_role
from shared.fleet.artifacts import ModelArtifact, ModelArtifacts
from shared.problems import NotFound, UnprocessableContent, field_problem
from shared.service_state import ServiceState

PRIOR: Final = "texture-diffusion"
"""Name of the diffusion model of textures."""


@dataclass(frozen=True, slots=True)
class FleetDetectors:
    """Finds detectors by name.

    Args:
        artifacts: of all models.
    """

    artifacts: ModelArtifacts

    async def victim(self, name: str) -> ModelArtifact:
        """The detector that a car is hidden from.

        Raises:
            UnprocessableContent: there is none of this name, or it is no detector.
            ServiceUnavailable: nobody can say which models there are.
        """
        return await self._find(name, "/body/victim")

    async def transfers(self, names: Sequence[tuple[int, str]], *, victim: str) -> list[ModelArtifact]:
        """The detectors that are only asked.

        Args:
            names: with their places in the request.
            victim: the one that is attacked.

        Raises:
            UnprocessableContent: one is not there, no detector, or the victim itself.
            ServiceUnavailable: nobody can say which models there are.
        """
        for place, name in names:
            if name == victim:
                raise field_problem(f"/body/transfer/{place}", f"{name} is measured anyway: name each detector once.")
        return [await self._find(name, f"/body/transfer/{place}") for place, name in names]

    async def require_prior(self) -> None:
        """See that the pattern `ddpm` has its diffusion model.

        Raises:
            UnprocessableContent: it is not released here.
            ServiceUnavailable: nobody can say which models there are.
        """
        try:
            await self.artifacts.find(PRIOR)
        except NotFound:
            raise field_problem(
                "/body/pattern", f"ddpm needs the model {PRIOR}, which is not here. Take `pixels` or `generator`."
            ) from None

    async def _find(self, name: str, pointer: str) -> ModelArtifact:
        try:
            found = await self.artifacts.find(name)
        except NotFound as problem:
            raise field_problem(pointer, problem.detail) from None
        try:
            role = require_role(found.card)
        except UnprocessableContent as problem:
            raise field_problem(pointer, problem.detail) from None
        vehicle_labels(role.classes, model=name, pointer=pointer)
        return found


@asynccontextmanager
async def open_fleet_detectors(service: ServiceState) -> AsyncIterator[FleetDetectors]:
    """The detectors of a fleet, as long as the service is open."""
    async with open_artifacts(service) as artifacts:
        yield FleetDetectors(artifacts)
