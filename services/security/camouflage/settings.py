"""Settings of camouflages, from the environment (`FACET_CAMOUFLAGE_` prefix) or `.env`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, IPvAnyNetwork, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.security.camouflage.detector_endpoints import DetectorEndpoint
from services.security.endpoints.registration import require_different_names
from shared.edge_settings import split_list
from shared.settings import CapabilitySettings


class CamouflageSettings(CapabilitySettings):
    """How large a run may be, and which detectors beyond the fleet may be tested."""

    model_config = SettingsConfigDict(env_prefix="FACET_CAMOUFLAGE_")

    frames_limit: int = Field(default=60_000, gt=0)
    """Most pictures that one run renders and shows its victim: steps times batch."""

    seconds_limit: float = Field(default=3200.0, gt=0)
    """Longest estimated time of one run, and after which a run ends with the texture it has; below the time limit of
    its job."""

    memory_limit_mib: int = Field(default=4608, gt=0)
    """Most memory in MiB that one run may take of its worker by the estimate: scenes that are kept, and a batch with
    what its gradient needs."""

    backgrounds_limit: int = Field(default=128, gt=0)
    """Most background pictures of one run."""

    upload_limit_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Largest body in bytes of a request for a run."""

    endpoints: tuple[DetectorEndpoint, ...] = ()
    """Registered detectors, as a JSON list; callers name them in `transfer`, and can reach no other."""

    allowed_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    """Networks, parted by commas, in which endpoints may be besides public addresses, there also by plain http."""

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        return split_list(value)

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        require_different_names(self.endpoints)
        return self

    def endpoint(self, name: str) -> DetectorEndpoint:
        """A registered endpoint.

        Raises:
            KeyError: there is none of this name.
        """
        return {endpoint.name: endpoint for endpoint in self.endpoints}[name]


def upload_limit_bytes() -> int:
    """The setting of that name, as the environment has it."""
    return CamouflageSettings().upload_limit_bytes
