"""The routing table: `/v1/<domain>/**` goes to the domain's service, its path unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.proxy import Proxy
from shared.http.errors import problem_response
from shared.problems import NotFound
from shared.settings import DOMAINS, Domain


class _ServiceRoute(Route):
    """A catch-all that metrics and logs know by its template, so that paths make no new series."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        await super().handle(scope, receive, send)


def service_routes(proxies: Mapping[Domain, Proxy]) -> list[Route]:
    """One catch-all per domain. Wrong methods and unknown paths below it are the service's to answer."""
    return [
        _ServiceRoute(f"/v1/{domain}/{{path:path}}", proxy, name=domain, include_in_schema=False)
        for domain, proxy in proxies.items()
    ]


async def unknown_address(request: Request, _: Exception) -> Response:
    """The 404 of the gateway itself, which says what there is."""
    path: str = request.scope["path"]
    detail = f"There is nothing at {path}. The routes are listed at /docs."
    if path.startswith("/v1/"):
        places = ", ".join(f"/v1/{name}/" for name in (*DOMAINS, "jobs", "models"))
        detail = f"There is nothing at {path}. Under /v1 there are {places} and their routes are listed at /docs."
    return problem_response(NotFound(detail), path=path)
