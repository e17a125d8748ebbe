"""Applications in this process: started through their lifespan, called without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.settings import Settings

PATIENCE_S = 60.0

FLEET_TOKEN = "the token of the tests"
"""Set for every test (`tests.conftest`), as a supervisor sets one for a fleet."""


def fleet_headers(settings: Settings) -> dict[str, str]:
    """What the gateway shows the services."""
    return {FLEET_TOKEN_HEADER: settings.fleet_token.get_secret_value()} if settings.fleet_token else {}


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, which runs from its lifespan's startup to its shutdown.

    The lifespan runs in a task of its own, as under a server: fixtures enter and leave in different ones.
    """
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    lifespan = asyncio.create_task(app(scope, inbox.get, outbox.put))  # type: ignore[arg-type]
    await _tell(inbox, outbox, "lifespan.startup")
    try:
        transport, headers = httpx.ASGITransport(app=app), fleet_headers(app.state.settings)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://facet.localhost", timeout=PATIENCE_S, headers=headers
        ) as client:
            yield client
    finally:
        await _tell(inbox, outbox, "lifespan.shutdown")
        await lifespan


async def _tell(inbox: asyncio.Queue[dict[str, str]], outbox: asyncio.Queue[dict[str, str]], message: str) -> None:
    await inbox.put({"type": message})
    answer = await outbox.get()
    assert answer["type"] == f"{message}.complete", answer


async def until_models_are_open(client: httpx.AsyncClient) -> None:
    """Wait for what a service does in the background of its start."""
    async with asyncio.timeout(PATIENCE_S):
        while (await client.get("/health/ready")).json()["checks"]["models"] == "models are loading":  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving_on(app: ASGIApp, port: int) -> AsyncIterator[None]:
    """An application on a socket of its own."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            while not server.started or (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        await task
