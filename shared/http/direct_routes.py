"""Routes that are found by their path alone, before FastAPI looks for them among all others.

FastAPI matches every route of every router in turn, and solves the dependencies of the one that it finds: half a
millisecond, as long as a small network takes. Routes without parameters in their path that read requests themselves
need none of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.errors import problem_response
from shared.problems import Problem


class DirectRoutes:
    """ASGI layer that answers POST requests to some paths itself, and passes on all others.

    Args:
        app: the application inside; it has the same routes, for its documentation and for other methods.
        routes: by path; the endpoint of each takes a request and gives a response.
    """

    def __init__(self, app: ASGIApp, *, routes: Mapping[str, APIRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            response = await route.endpoint(Request(scope, receive, send))
        except Problem as problem:
            response = problem_response(problem, path=scope["path"])
        await response(scope, receive, send)
