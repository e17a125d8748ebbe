"""Makes the application of a domain out of the declarations of its capabilities."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from services.declarations import SERVICES, declared_capabilities
from services.sample_routes import sample_router
from shared.capabilities.collection import Capabilities
from shared.capabilities.declaration import Capability
from shared.capabilities.references import load_reference
from shared.http.files import register_extensions
from shared.service import ServiceParts, create_service
from shared.settings import Domain, Settings, get_settings


def create_domain_service(
    domain: Domain,
    *,
    title: str,
    description: str,
    settings: Settings | None = None,
    capabilities: Capabilities | None = None,
) -> FastAPI:
    """Build the application of a domain.

    Args:
        domain: which of the five services.
        title: title of its OpenAPI document.
        description: what it is for, Markdown.
        settings: settings of the process, read from the environment by default.
        capabilities: of the fleet; those that are declared by default.

    Raises:
        FleetTokenMissing: the settings have no token.
    """
    settings = settings or get_settings()
    capabilities = declared_capabilities() if capabilities is None else capabilities
    register_extensions(capabilities.extensions)
    own = capabilities.of(domain)
    return create_service(
        domain,
        title=title,
        description=description,
        models=[SERVICES / domain / "models", *(one.models for one in own if one.models is not None)],
        parts=_parts(own, capabilities, settings),
        settings=settings,
    )


def _parts(own: Sequence[Capability], capabilities: Capabilities, settings: Settings) -> ServiceParts:
    """What the declarations name, imported."""
    return ServiceParts(
        routers=[
            *(load_reference(reference) for one in own for reference in one.routers),
            sample_router(Capabilities(own).sample_files),
        ],
        warm_ups=[load_reference(reference) for one in own for reference in one.warm_ups],
        states=[load_reference(one.state) for one in own if one.state is not None],
        direct=[load_reference(reference) for one in own for reference in one.direct_routes],
        tags=Capabilities(own).tags,
        body_limit=capabilities.body_limits(settings),
    )
