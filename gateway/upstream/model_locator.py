"""Which service has which model: asked of the services, remembered, and asked anew when a name is not known."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from gateway.upstream.services import ServiceUnreadable, Upstreams
from shared.problems import NotFound, ServiceUnavailable
from shared.settings import DOMAINS, Domain

logger = logging.getLogger(__name__)

_TIMEOUT_S = 3.0
_LEAST_AGE_S = 1.0
"""Between two askings, however many unknown names are asked for."""


class ModelLocator:
    """Finds the service of a model.

    Args:
        upstreams: the services.
    """

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._domains: dict[str, Domain] = {}
        self._invalidated: set[str] = set()
        self._silent: tuple[Domain, ...] = ()
        self._asked = -1e9
        self._asking = asyncio.Lock()

    def cached(self, name: str) -> Domain | None:
        """The service that had the model when it was last asked, and has not denied it since."""
        return None if name in self._invalidated else self._domains.get(name)

    def invalidate(self, name: str) -> None:
        """The service answered 404: look again before the model is next used.

        The model is not forgotten by that, as the 404 may be about a version or a path below it.
        """
        if name in self._domains:
            self._invalidated.add(name)

    def note(self, name: str, domain: Domain) -> None:
        """A service has just got this model."""
        self._domains[name] = domain
        self._invalidated.discard(name)

    async def domain_of(self, name: str) -> Domain:
        """The service that has a model.

        Raises:
            NotFound: none has.
            ServiceUnavailable: none that answers has, and not all of them answer.
        """
        if (domain := self.cached(name)) is not None:
            return domain
        await self._ask()
        self._invalidated.discard(name)
        if (domain := self._domains.get(name)) is not None:
            return domain
        if self._silent:
            silent = ", ".join(self._silent)
            raise ServiceUnavailable(
                f"No service that answers has this model. Not answering at present: {silent}.", retry_after_s=2
            )
        known = ", ".join(sorted(self._domains)) or "none"
        raise NotFound(f"There is no such model. Models here: {known}.")

    async def _ask(self) -> None:
        async with self._asking:
            if time.monotonic() - self._asked < _LEAST_AGE_S:
                return
            answers = await asyncio.gather(*(self._names(domain) for domain in DOMAINS))
            found = dict(zip(DOMAINS, answers, strict=True))
            self._silent = tuple(domain for domain, names in found.items() if names is None)
            self._domains = _merged(self._domains, found)
            self._asked = time.monotonic()

    async def _names(self, domain: Domain) -> list[str] | None:
        try:
            answer = await self._upstreams.get_json(domain, "/v1/models", timeout_s=_TIMEOUT_S)
            return [str(card["name"]) for card in answer["models"]]
        except ServiceUnreadable:
            return None
        except (LookupError, TypeError):
            logger.warning("unreadable list of models", extra={"service": domain})
            return None


def _merged(before: Mapping[str, Domain], found: Mapping[Domain, list[str] | None]) -> dict[str, Domain]:
    """What services say goes before what they said; of one that is silent, what is known stays."""
    kept = {name: domain for name, domain in before.items() if found[domain] is None}
    return kept | {name: domain for domain, names in found.items() for name in names or ()}
