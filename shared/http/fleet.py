"""The secret between the gateway and the services, where the operator sets one: who lacks it is not believed."""

from __future__ import annotations

import hmac

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.errors import problem_response
from shared.problems import Unauthorized

FLEET_TOKEN_HEADER = "Facet-Fleet-Token"  # noqa: S105 - the name of a header
_OPEN = ("/health/", "/metrics")


class FleetOnly:
    """ASGI layer of a service: without the fleet's token there is only health and metrics.

    Args:
        app: the application inside.
        token: the secret.
    """

    def __init__(self, app: ASGIApp, *, token: SecretStr) -> None:
        self._app = app
        self._token = token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and not scope["path"].startswith(_OPEN):
            given = Headers(scope=scope).get(FLEET_TOKEN_HEADER, "")
            if not hmac.compare_digest(given.encode("latin-1"), self._token):
                problem = Unauthorized("Services of this fleet answer the gateway only. Ask there.")
                await problem_response(problem, path=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)
