"""Detectors that a texture is tried on besides the victim: of the fleet, or elsewhere as the operator registers them.

`transfer` of a request names both: `nanodet`, a model of the fleet; `endpoint:theirs`, a registered detector. Endpoints
are asked within a budget that counts every try, as whoever runs them would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, Field

from services.security.camouflage.detection.endpoints import DetectorEndpoint
from services.security.endpoints.settings import EndpointSettings
from shared.problems import field_problem

PREFIX: Final = "endpoint:"
"""Before the name of a registered detector."""

FURTHER_TRIES: Final = 1.1
"""Budget of an endpoint for each query that is planned."""

_NOTE_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Transfers:
    """What a request names in `transfer`.

    Attributes:
        models: names of models of the fleet, with their places in the list.
        endpoints: registered detectors.
    """

    models: tuple[tuple[int, str], ...]
    endpoints: tuple[DetectorEndpoint, ...]

    @property
    def note(self) -> str | None:
        """What the audit log says of it; None where no endpoint is asked."""
        said = "; ".join(
            f"test of the detector {one.name}, owned by {one.owner}: {one.ownership}" for one in self.endpoints
        )
        return said[:_NOTE_LIMIT] or None


class EndpointUsed(BaseModel):
    """A registered detector that is asked."""

    name: str = Field(description="As it is registered")
    owner: str = Field(description="Who owns it")
    ownership: str = Field(description="The owner's statement that it may be tested")
    budget: int = Field(description="Most pictures that it is shown, further tries included; never exceeded")


def read_transfers(names: Sequence[str], settings: EndpointSettings[DetectorEndpoint]) -> Transfers:
    """Tell models from endpoints.

    Raises:
        UnprocessableContent: an endpoint is not registered, or something is named twice.
    """
    for place, name in enumerate(names):
        if name in names[:place]:
            raise field_problem(f"/body/transfer/{place}", f"{name} is measured anyway: name each detector once.")
    chosen = [(place, name) for place, name in enumerate(names)]
    return Transfers(
        tuple((place, name) for place, name in chosen if not name.startswith(PREFIX)),
        tuple(_registered(name, settings, place) for place, name in chosen if name.startswith(PREFIX)),
    )


def use_endpoint(endpoint: DetectorEndpoint, *, pictures: int) -> EndpointUsed:
    """An endpoint with a budget for so many pictures and some further tries."""
    return EndpointUsed(
        name=endpoint.name,
        owner=endpoint.owner,
        ownership=endpoint.ownership,
        budget=math.ceil(FURTHER_TRIES * pictures),
    )


def _registered(name: str, settings: EndpointSettings[DetectorEndpoint], place: int) -> DetectorEndpoint:
    wanted = name.removeprefix(PREFIX)
    try:
        return settings.endpoint(wanted)
    except KeyError:
        names = ", ".join(sorted(PREFIX + one.name for one in settings.endpoints)) or "none"
        detail = f"{wanted!r} is not registered by the operator of this fleet. Registered: {names}."
        raise field_problem(f"/body/transfer/{place}", detail) from None
