"""The routing table: which service a request goes to, its path unchanged.

`/v1/<domain>/**` goes to the domain's service, `/v2/models/<name>/**` to the service that has the model, and everything
else is answered by the gateway itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.calls import Call
from gateway.request_bodies.reader import RequestBody
from gateway.upstream.model_locator import ModelLocator
from gateway.upstream.proxy import Proxy
from shared.http.errors import problem_response
from shared.problems import NotFound
from shared.settings import DOMAINS, Domain

_MODELS: Final = "/v2/models/"
_STATISTICS: Final = "stats"
"""Below them, and no model: the gateway asks all services for it."""


@dataclass(frozen=True, slots=True)
class RouteTemplate:
    """What metrics and logs know a request by, so that paths make no new series; found at `scope["route"]`."""

    path: str


_MODEL = RouteTemplate("/v2/models/{name}")
_INFER = RouteTemplate("/v2/models/{name}/infer")
_BELOW_MODEL = RouteTemplate("/v2/models/{name}/{rest:path}")


class ModelCall:
    """Passes a request on to the service that has the model.

    Args:
        locator: knows which.
        proxies: one for each service.
    """

    def __init__(self, locator: ModelLocator, proxies: Mapping[Domain, Proxy]) -> None:
        self._locator, self._proxies = locator, proxies

    async def __call__(self, scope: Scope, body: RequestBody, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            NotFound: no service has the model.
        """
        name = scope["path"][len(_MODELS) :].partition("/")[0]
        if not name:
            raise NotFound("A model has a name: /v2/models/<name>. GET /v1/models lists them.")
        domain = self._locator.cached(name) or await self._locator.domain_of(name)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 404:
                self._locator.invalidate(name)
            await send(message)

        await self._proxies[domain](scope, body, receive, noting)


class UpstreamRouter:
    """Finds the service of a request.

    Args:
        locator: knows which service has a model.
        proxies: one for each service.
    """

    def __init__(self, locator: ModelLocator, proxies: Mapping[Domain, Proxy]) -> None:
        self._model = ModelCall(locator, proxies)
        self._domains: dict[str, tuple[Proxy, RouteTemplate]] = {
            domain: (proxy, RouteTemplate(f"/v1/{domain}/{{path:path}}")) for domain, proxy in proxies.items()
        }

    def find(self, scope: Scope) -> Call | None:
        """Who passes a request on; None where the gateway answers by itself. Names the route for metrics and logs."""
        path: str = scope["path"]
        if path.startswith(_MODELS):
            rest = path[len(_MODELS) :]
            if rest == _STATISTICS:
                return None
            scope["route"] = _MODEL if "/" not in rest else _INFER if rest.endswith("/infer") else _BELOW_MODEL
            return self._model
        if path.startswith("/v1/"):
            domain, slash, _ = path[4:].partition("/")
            found = self._domains.get(domain) if slash else None
            if found is not None:
                scope["route"] = found[1]
                return found[0]
        return None


async def unknown_address(request: Request, _: Exception) -> Response:
    """The 404 of the gateway itself, which says what there is."""
    path: str = request.scope["path"]
    detail = f"There is nothing at {path}. The routes are listed at /docs."
    if path.startswith("/v1/"):
        places = ", ".join(f"/v1/{name}/" for name in (*DOMAINS, "jobs", "models"))
        detail = f"There is nothing at {path}. Under /v1 there are {places} and their routes are listed at /docs."
    return problem_response(NotFound(detail), path=path)
