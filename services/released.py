"""Where released models are: beside each domain's code, in a capability's own folder, or where FACET_MODELS says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.declarations import SERVICES, declared_capabilities
from shared.capabilities.collection import Capabilities
from shared.deployments.store import DesiredStateStore
from shared.fleet.artifacts import ModelArtifacts, ReleasedFolders
from shared.jobs.connection import api_client
from shared.settings import DOMAINS, Settings

if TYPE_CHECKING:
    from shared.service_state import ServiceState


def released_folders(settings: Settings, capabilities: Capabilities | None = None) -> ReleasedFolders:
    """Folders of released models by domain.

    Args:
        settings: whose `models` names another folder for all of them.
        capabilities: of the fleet; those that are declared by default.
    """
    declared = declared_capabilities() if capabilities is None else capabilities
    return {
        domain: tuple(
            dict.fromkeys(
                settings.models_folder(domain, beside=folder)
                for folder in (SERVICES / domain / "models", *(one.models for one in declared.of(domain) if one.models))
            )
        )
        for domain in DOMAINS
    }


@asynccontextmanager
async def open_artifacts(service: ServiceState) -> AsyncIterator[ModelArtifacts]:
    """All models of the fleet as files, for the state of a capability that looks inside of them."""
    redis = api_client(service.settings.redis_url)
    try:
        yield ModelArtifacts(
            released_folders(service.settings),
            DesiredStateStore(redis),
            service.blobs,
            fresh_s=service.settings.models_poll_s,
        )
    finally:
        await redis.aclose()
