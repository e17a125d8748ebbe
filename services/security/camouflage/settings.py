"""Settings of camouflages, from the environment (`FACET_CAMOUFLAGE_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.security.camouflage.detection.endpoints import DetectorEndpoint
from services.security.endpoints.settings import EndpointSettings


class CamouflageSettings(EndpointSettings[DetectorEndpoint]):
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


def upload_limit_bytes() -> int:
    """The setting of that name, as the environment has it."""
    return CamouflageSettings().upload_limit_bytes
