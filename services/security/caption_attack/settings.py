"""Settings of caption attacks, from the environment (`FACET_CAPTION_ATTACK_` prefix) or `.env`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, IPvAnyNetwork, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.security.caption_attack.endpoints import CaptionEndpoint
from services.security.endpoints.registration import require_different_names
from shared.edge_settings import split_list
from shared.settings import CapabilitySettings


class CaptionAttackSettings(CapabilitySettings):
    """How large an attack may be, and which captioners beyond the fleet may be tested."""

    model_config = SettingsConfigDict(env_prefix="FACET_CAPTION_ATTACK_")

    queries_limit: int = Field(default=200_000, gt=0)
    """Most queries of one attack, all together."""

    runs_limit: int = Field(default=300, gt=0)
    """Most runs of one attack: pictures times arms times seeds. Each has two pictures in the result."""

    seconds_limit: float = Field(default=3200.0, gt=0)
    """After which an attack ends with what it has found; below the time limit of its job."""

    endpoints: tuple[CaptionEndpoint, ...] = ()
    """Registered captioners, as a JSON list; callers name them, and can reach no other."""

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

    def endpoint(self, name: str) -> CaptionEndpoint:
        """A registered endpoint.

        Raises:
            KeyError: there is none of this name.
        """
        return {endpoint.name: endpoint for endpoint in self.endpoints}[name]
