"""Settings of bit-error campaigns, read from the environment (`FACET_BIT_ERROR_CAMPAIGNS_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import CapabilitySettings


class CampaignSettings(CapabilitySettings):
    """How large a campaign may be."""

    model_config = SettingsConfigDict(env_prefix="FACET_BIT_ERROR_CAMPAIGNS_")

    evaluations_limit: int = Field(default=5_000_000, gt=0)
    """Most pictures that the perturbed networks of one campaign classify, all together."""

    networks_limit: int = Field(default=20_000, gt=0)
    """Most networks of one campaign: rates times seeds, and what the analyses of layers and bits add."""

    seconds_limit: float = Field(default=3000.0, gt=0)
    """Longest estimated time of one campaign; below the time limit of its job, as estimates may be too low."""

    pictures_limit: int = Field(default=20_000, gt=0)
    """Most pictures in a data set."""

    pictures_bytes_limit: int = Field(default=512 * 1024 * 1024, gt=0)
    """Most memory of the pictures as the network takes them, which stay in memory while the campaign runs."""

    upload_limit_bytes: int = Field(default=256 * 1024 * 1024, gt=0)
    """Largest body in bytes of a request: a data set, and a model."""


def upload_limit_bytes() -> int:
    """The setting of that name, as the environment has it."""
    return CampaignSettings().upload_limit_bytes
