"""The frame of a domain service: what all of them have in common, whatever their capabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from shared.http.application import create_application
from shared.http.direct import EndpointsByPath
from shared.http.fleet import FleetTokenMiddleware, require_fleet_token
from shared.http.image_bodies import endpoints_of
from shared.inference_protocol.inference import DirectInference, Inference
from shared.inference_protocol.routes import inference_router
from shared.runtime.models.listing import models_router
from shared.service_lifetime import ServiceLifetime, ServiceParts
from shared.service_state import Service, ServiceState, service_state, state_of
from shared.settings import Domain, Settings, get_settings

__all__ = ["Service", "ServiceParts", "ServiceState", "create_service", "service_state", "state_of"]


def create_service(
    domain: Domain,
    *,
    title: str,
    description: str,
    models: Path | Sequence[Path],
    parts: ServiceParts | None = None,
    settings: Settings | None = None,
) -> FastAPI:
    """Build the application of a domain.

    Args:
        domain: which of the five services this is.
        title: title of its OpenAPI document.
        description: what it is for, Markdown.
        models: folders of the models released with its code; the setting `models` names another instead.
        parts: what its capabilities add.
        settings: settings of the process, read from the environment by default.

    Raises:
        FleetTokenMissing: the settings have no token.
    """
    settings, parts = settings or get_settings(), parts or ServiceParts()
    beside = [models] if isinstance(models, Path) else models
    folders = dict.fromkeys(settings.models_folder(domain, beside=folder) for folder in beside)
    lifetime = ServiceLifetime(domain, settings, tuple(folders), parts)
    inference = Inference(lifetime.registry)
    app = create_application(
        process=domain,
        title=title,
        description=description,
        settings=settings,
        routers=[
            inference_router(lifetime.registry, inference),
            models_router(lifetime.registry),
            *parts.routers,
        ],
        checks=lifetime.checks,
        lifespan=lifetime,
        layers=[Middleware(FleetTokenMiddleware, token=require_fleet_token(settings))],
        direct=[DirectInference(inference), EndpointsByPath(endpoints_of(parts.routers)), *parts.direct],
        body_limit=parts.body_limit,
        strict={route.path for router in parts.routers for route in router.routes if isinstance(route, APIRoute)},
    )
    app.openapi_tags = [{"name": name, "description": text} for name, text in parts.tags.items()]
    lifetime.attach(app)
    return app
