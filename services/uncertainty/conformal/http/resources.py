"""The state behind the conformal routes: records in Redis, calibrations in memory, a client of the fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends
from redis.asyncio import Redis

from services.uncertainty.conformal.application.fleet_models import fleet_client
from services.uncertainty.conformal.settings import ConformalSettings
from services.uncertainty.conformal.storage.calibration_entries import CalibrationCache, CalibrationEntry
from services.uncertainty.conformal.storage.record_stores import open_calibrations, open_monitors, open_streams
from services.uncertainty.conformal.storage.serialization import AnyCalibration
from shared.fleet.client import FleetClient
from shared.jobs.connection import api_client
from shared.problems import Gone
from shared.request_context import current_caller
from shared.service_state import ServiceState, state_of
from shared.storage.blobs import BlobMissing, BlobStore
from shared.stores.owned_records import OwnedRecords
from shared.stores.versioned_state import VersionedStates


@dataclass(frozen=True, slots=True)
class ConformalState:
    """State of the capability.

    Attributes:
        settings: what callers may post and keep.
        redis: client of all three stores; to be closed.
        calibrations, streams, monitors: the stores.
        cache: calibrations in memory.
        fleet: client of the service that classifies; to be closed.
    """

    settings: ConformalSettings
    redis: Redis
    calibrations: OwnedRecords
    streams: VersionedStates
    monitors: VersionedStates
    cache: CalibrationCache
    fleet: FleetClient

    async def read_entry(self, identifier: str) -> CalibrationEntry:
        """Read the description of a calibration of the caller.

        Raises:
            NotFound: there is none, or it is another caller's.
            ServiceUnavailable: Redis does not answer.
        """
        return CalibrationEntry.from_json(await self.calibrations.get(identifier, owner=current_caller()))

    async def load_calibration(self, entry: CalibrationEntry, blobs: BlobStore) -> AnyCalibration:
        """Load the calibration that an entry describes.

        Raises:
            Gone: its scores are lost.
        """
        if (cached := self.cache.peek(entry.blob)) is not None:
            return cached
        try:
            return await anyio.to_thread.run_sync(self.cache.load, entry.blob, blobs)
        except BlobMissing:
            raise Gone("The scores of this calibration are no longer in the blob store. Calibrate again.") from None


@asynccontextmanager
async def open_resources(service: ServiceState) -> AsyncIterator[ConformalState]:
    """Open the state of the capability for as long as its service runs; clients connect when they are first used."""
    settings, redis = ConformalSettings(), api_client(service.settings.redis_url)
    fleet = fleet_client(service.settings)
    try:
        yield ConformalState(
            settings=settings,
            redis=redis,
            calibrations=open_calibrations(redis, settings),
            streams=open_streams(redis, settings),
            monitors=open_monitors(redis, settings),
            cache=CalibrationCache(),
            fleet=fleet,
        )
    finally:
        await fleet.aclose()
        await redis.aclose()


Resources = Annotated[ConformalState, Depends(state_of(ConformalState))]
"""Annotate a route's parameter with this to get the capability's state."""
