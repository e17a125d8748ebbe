"""What settings of capabilities that ask registered endpoints have in common."""

from __future__ import annotations

from typing import Annotated, Generic, Self, TypeVar

from pydantic import IPvAnyNetwork, field_validator, model_validator
from pydantic_settings import NoDecode

from services.security.endpoints.registration import Endpoint, require_different_names
from shared.edge_settings import split_list
from shared.settings import CapabilitySettings

Registered = TypeVar("Registered", bound=Endpoint)


class EndpointSettings(CapabilitySettings, Generic[Registered]):
    """Which endpoints beyond the fleet may be tested; a subclass sets `env_prefix`."""

    endpoints: tuple[Registered, ...] = ()
    """Registered endpoints, as a JSON list; callers name them, and can reach no other."""

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

    def endpoint(self, name: str) -> Registered:
        """A registered endpoint.

        Raises:
            KeyError: there is none of this name.
        """
        return {endpoint.name: endpoint for endpoint in self.endpoints}[name]
