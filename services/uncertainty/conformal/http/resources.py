"""What the conformal routes work with: records in Redis, calibrations at hand, the fleet's classifiers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import anyio
import httpx
from fastapi import Depends, FastAPI, Request
from redis.asyncio import Redis

from services.uncertainty.conformal.application.fleet_models import fleet_client
from services.uncertainty.conformal.storage.calibration_entries import CalibrationCache, Entry, Kept
from services.uncertainty.conformal.storage.owned_records import OwnedRecords
from services.uncertainty.conformal.storage.versioned_state import RunningRecords
from shared.http.context import ANONYMOUS, current_context
from shared.jobs.connection import api_client
from shared.problems import Gone
from shared.settings import Settings
from shared.storage.blobs import BlobMissing, BlobStore


@dataclass(frozen=True, slots=True)
class Conformal:
    """State of the capability; found at `app.state.conformal`."""

    redis: Redis
    calibrations: OwnedRecords
    streams: RunningRecords
    monitors: RunningRecords
    cache: CalibrationCache
    fleet: httpx.AsyncClient

    async def entry(self, identifier: str) -> Entry:
        """A calibration of the caller, as it is described.

        Raises:
            NotFound: there is none, or it is another caller's.
        """
        return Entry.from_json(await self.calibrations.get(identifier, owner=caller()))

    async def kept(self, entry: Entry, blobs: BlobStore) -> Kept:
        """The calibration itself.

        Raises:
            Gone: its scores are lost.
        """
        if (found := self.cache.peek(entry.blob)) is not None:
            return found
        try:
            return await anyio.to_thread.run_sync(self.cache.load, entry.blob, blobs)
        except BlobMissing:
            raise Gone("The scores of this calibration are no longer in the blob store. Calibrate again.") from None


def caller() -> str:
    """Who asks: the owner of what the request makes."""
    context = current_context()
    return context.caller if context else ANONYMOUS


def records(redis: Redis, settings: Settings, kind: str) -> OwnedRecords:
    """The records of a kind."""
    return OwnedRecords(redis, kind, limit=settings.conformal_resources_limit)


def conformal_resources(settings: Settings) -> Conformal:
    """The state of the capability; its clients connect when they are first used."""
    redis = api_client(settings.redis_url)
    return Conformal(
        redis=redis,
        calibrations=records(redis, settings, "calibration"),
        streams=running_records(redis, settings, "stream"),
        monitors=running_records(redis, settings, "monitor"),
        cache=CalibrationCache(),
        fleet=fleet_client(settings),
    )


def running_records(redis: Redis, settings: Settings, kind: str) -> RunningRecords:
    """The running things of a kind."""
    return RunningRecords(redis, kind, limit=settings.conformal_resources_limit, history=settings.conformal_history)


@asynccontextmanager
async def closing_resources(app: FastAPI) -> AsyncIterator[None]:
    """Close the clients of the capability with the application."""
    state: Conformal = app.state.conformal
    try:
        yield
    finally:
        await state.fleet.aclose()
        await state.redis.aclose()


def _conformal(request: Request) -> Conformal:
    state: Conformal = request.app.state.conformal
    return state


Resources = Annotated[Conformal, Depends(_conformal)]
"""Annotate a route's parameter with this to get the capability's state."""
