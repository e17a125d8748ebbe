"""What the conformal routes work with: records in Redis, calibrations at hand, the fleet's classifiers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends
from redis.asyncio import Redis

from services.uncertainty.conformal.fleet_models import fleet_client
from services.uncertainty.conformal.kept import CalibrationCache, Entry, Kept
from services.uncertainty.conformal.running import RunningRecords
from services.uncertainty.conformal.settings import ConformalSettings
from services.uncertainty.conformal.store import OwnedRecords
from shared.fleet.client import FleetClient
from shared.http.context import ANONYMOUS, current_context
from shared.jobs.connection import api_client
from shared.problems import Gone
from shared.service_state import ServiceState, state_of
from shared.storage.blobs import BlobMissing, BlobStore


@dataclass(frozen=True, slots=True)
class Conformal:
    """State of the capability."""

    settings: ConformalSettings
    redis: Redis
    calibrations: OwnedRecords
    streams: RunningRecords
    monitors: RunningRecords
    cache: CalibrationCache
    fleet: FleetClient

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


def records(redis: Redis, settings: ConformalSettings, kind: str) -> OwnedRecords:
    """The records of a kind."""
    return OwnedRecords(redis, kind, limit=settings.resources_limit)


def running_records(redis: Redis, settings: ConformalSettings, kind: str) -> RunningRecords:
    """The running things of a kind."""
    return RunningRecords(redis, kind, limit=settings.resources_limit, history=settings.history)


@asynccontextmanager
async def open_resources(service: ServiceState) -> AsyncIterator[Conformal]:
    """The state of the capability, as long as its service runs; clients connect when they are first used."""
    settings, redis = ConformalSettings(), api_client(service.settings.redis_url)
    fleet = fleet_client(service.settings)
    try:
        yield Conformal(
            settings=settings,
            redis=redis,
            calibrations=records(redis, settings, "calibration"),
            streams=running_records(redis, settings, "stream"),
            monitors=running_records(redis, settings, "monitor"),
            cache=CalibrationCache(),
            fleet=fleet,
        )
    finally:
        await fleet.aclose()
        await redis.aclose()


Resources = Annotated[Conformal, Depends(state_of(Conformal))]
"""Annotate a route's parameter with this to get the capability's state."""
