"""Settings of camouflages, from the environment (`FACET_CAMOUFLAGE_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import CapabilitySettings


class CamouflageSettings(CapabilitySettings):
    """How large a run may be."""

    model_config = SettingsConfigDict(env_prefix="FACET_CAMOUFLAGE_")

    frames_limit: int = Field(default=60_000, gt=0)
    """Most pictures that one run renders and shows its victim: steps times batch."""

    seconds_limit: float = Field(default=3200.0, gt=0)
    """Longest estimated time of one run, and after which a run ends with the texture it has; below the time limit of
    its job."""

    backgrounds_limit: int = Field(default=128, gt=0)
    """Most background pictures of one run."""

    upload_limit_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Largest body in bytes of a request for a run."""


def upload_limit_bytes() -> int:
    """The setting of that name, as the environment has it."""
    return CamouflageSettings().upload_limit_bytes
