"""Settings of chest X-ray, read from the environment (`FACET_CHEST_XRAY_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import CapabilitySettings


class ChestXraySettings(CapabilitySettings):
    """What is answered at once, and what becomes a job."""

    model_config = SettingsConfigDict(env_prefix="FACET_CHEST_XRAY_")

    direct_films: int = Field(default=8, gt=0)
    """Most films of one request that are answered at once: seconds for each on two cores, while the gateway waits two
    minutes. More become a job."""


def direct_films() -> int:
    """The setting of that name, as the environment has it."""
    return ChestXraySettings().direct_films
