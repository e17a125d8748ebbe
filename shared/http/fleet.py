"""The secret between the gateway and the services: who lacks it is not answered."""

from __future__ import annotations

import hmac

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.errors import problem_response
from shared.problems import Unauthorized
from shared.settings import Settings

FLEET_TOKEN_HEADER = "Facet-Fleet-Token"  # noqa: S105 - the name of a header
_OPEN = ("/health/", "/metrics")
_FIELD = FLEET_TOKEN_HEADER.lower().encode()


class FleetTokenMissing(Exception):
    """The settings have no token; the message says how to set one."""


def require_fleet_token(settings: Settings) -> SecretStr:
    """The token of the settings.

    Raises:
        FleetTokenMissing: there is none.
    """
    if settings.fleet_token is None or not settings.fleet_token.get_secret_value():
        raise FleetTokenMissing(
            "FACET_FLEET_TOKEN is not set. The gateway, the services and the workers of a fleet share one secret: set "
            "it to the same random text for all of them (`make run` draws one by itself)."
        )
    return settings.fleet_token


class FleetTokenMiddleware:
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
            given = next((value for name, value in scope["headers"] if name == _FIELD), b"")
            if not hmac.compare_digest(given, self._token):
                problem = Unauthorized("Services of this fleet answer the gateway only. Ask there.")
                await problem_response(problem, path=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)
