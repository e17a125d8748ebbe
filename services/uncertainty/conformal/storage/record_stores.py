"""The stores of the capability's records in Redis: calibrations, streams and monitors."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

from services.uncertainty.conformal.settings import ConformalSettings
from shared.stores.owned_records import OwnedRecords, RecordKind
from shared.stores.versioned_state import VersionedStates

PREFIX: Final = "/v1/uncertainty"


def open_calibrations(redis: Redis, settings: ConformalSettings) -> OwnedRecords:
    """Open the store of calibration entries."""
    return OwnedRecords(redis, _record_kind("calibration", settings))


def open_streams(redis: Redis, settings: ConformalSettings) -> VersionedStates:
    """Open the store of streams."""
    return VersionedStates(redis, _record_kind("stream", settings), history=settings.history)


def open_monitors(redis: Redis, settings: ConformalSettings) -> VersionedStates:
    """Open the store of monitors."""
    return VersionedStates(redis, _record_kind("monitor", settings), history=settings.history)


def _record_kind(name: str, settings: ConformalSettings) -> RecordKind:
    return RecordKind(capability="conformal", name=name, path=f"{PREFIX}/{name}s", limit=settings.resources_limit)
