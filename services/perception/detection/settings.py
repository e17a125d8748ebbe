"""Settings of detection, read from the environment (`FACET_DETECTION_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import CapabilitySettings


class DetectionSettings(CapabilitySettings):
    """How large the sets of an evaluation or an adaptation may be."""

    model_config = SettingsConfigDict(env_prefix="FACET_DETECTION_")

    pictures_limit: int = Field(default=5000, gt=0)
    """Most annotated pictures that one job measures on."""

    upload_limit_bytes: int = Field(default=256 * 1024 * 1024, gt=0)
    """Largest body in bytes of a request for one, and largest file in it."""


def upload_limit_bytes() -> int:
    """The setting of that name, as the environment has it."""
    return DetectionSettings().upload_limit_bytes
