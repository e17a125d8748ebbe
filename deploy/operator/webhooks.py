"""`facet webhooks listen`: see on one's own machine what a webhook receives."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click
import httpx
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.operator.output import UNAVAILABLE, Failure
from shared.webhooks.events import WebhookEvent
from shared.webhooks.signing import signature

_TIMEOUT_S = 10.0
_HOST = "127.0.0.1"


@click.group()
def webhooks() -> None:
    """Webhooks as their receivers see them."""


@webhooks.command()
@click.option("--gateway", default="http://127.0.0.1:8000", show_default=True, help="Of the fleet to be told of.")
@click.option("--port", default=0, help="To listen on, on 127.0.0.1; any unless given.")
@click.option("--key", envvar="FACET_API_KEY", help="API key with webhooks:write, where the fleet asks for keys.")
def listen(*, gateway: str, port: int, key: str | None) -> None:
    """Make a webhook that leads here, print every message whose signature is right, and delete it at Ctrl-C.

    The fleet must call this machine: start it with FACET_WEBHOOK_ALLOWED_NETWORKS=127.0.0.1/32.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        asyncio.run(_listen(httpx.URL(gateway), port, headers))
    except KeyboardInterrupt:
        pass
    except httpx.HTTPError as error:
        raise Failure(f"The gateway does not answer at {gateway}: {error}", code=UNAVAILABLE) from None


async def _listen(gateway: httpx.URL, port: int, headers: dict[str, str]) -> None:
    receiver = Receiver()
    application = Starlette(routes=[Route("/", receiver.take, methods=["POST"])])
    with socket.create_server((_HOST, port)) as listener:
        configuration = uvicorn.Config(application, log_level="warning", lifespan="off")
        serving = asyncio.create_task(uvicorn.Server(configuration).serve([listener]))
        url = f"http://{_HOST}:{listener.getsockname()[1]}/"
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=gateway, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
            )
            made = await stack.enter_async_context(_webhook(client, url))
            receiver.secret = made["secret"]
            click.echo(f"listening at {url} as {made['id']}; Ctrl-C ends")
            click.echo(f"a message on trial: curl -sS -X POST {str(gateway).rstrip('/')}{made['links']['test']}")
            await serving


@asynccontextmanager
async def _webhook(client: httpx.AsyncClient, url: str) -> AsyncIterator[dict[str, Any]]:
    """A webhook of all events, which is deleted at the end."""
    asked = {"url": url, "events": list(WebhookEvent), "description": "facet webhooks listen"}
    answer = await client.post("/v1/webhooks", json=asked)
    if answer.status_code != httpx.codes.CREATED:
        hint = " Start it with FACET_WEBHOOK_ALLOWED_NETWORKS=127.0.0.1/32." if answer.status_code == 422 else ""
        raise Failure(f"The fleet makes no webhook: {answer.json().get('detail')}{hint}", code=1)
    made: dict[str, Any] = answer.json()
    try:
        yield made
    finally:
        await client.delete(made["links"]["self"])


class Receiver:
    """Prints messages.

    Attributes:
        secret: of the webhook, once it is made.
    """

    def __init__(self) -> None:
        self.secret = ""

    async def take(self, request: Request) -> Response:
        """Take one message; 401 where its signature is not that of the secret."""
        body = await request.body()
        if not self._is_signed(request, body):
            click.echo("a message with a wrong signature", err=True)
            return Response(status_code=401)
        message = orjson.loads(body)
        click.echo(f"{message['timestamp']}  {message['type']}  {orjson.dumps(message['data']).decode()}")
        return Response(status_code=204)

    def _is_signed(self, request: Request, body: bytes) -> bool:
        identifier, sent = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        if not self.secret or not sent.isdecimal():
            return False
        expected = signature(self.secret, message_id=identifier, timestamp=int(sent), body=body)
        given = request.headers.get("webhook-signature", "").split()
        return any(hmac.compare_digest(one, expected) for one in given)
