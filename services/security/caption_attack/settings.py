"""Settings of caption attacks, from the environment (`FACET_CAPTION_ATTACK_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.security.caption_attack.captioners.endpoints import CaptionEndpoint
from services.security.endpoints.settings import EndpointSettings


class CaptionAttackSettings(EndpointSettings[CaptionEndpoint]):
    """How large an attack may be, and which captioners beyond the fleet may be tested."""

    model_config = SettingsConfigDict(env_prefix="FACET_CAPTION_ATTACK_")

    queries_limit: int = Field(default=200_000, gt=0)
    """Most queries of one attack, all together."""

    runs_limit: int = Field(default=300, gt=0)
    """Most runs of one attack: pictures times arms times seeds. Each has two pictures in the result."""

    seconds_limit: float = Field(default=3200.0, gt=0)
    """After which an attack ends with what it has found; below the time limit of its job."""
