"""The generation service: fashion design by diffusion and talking heads."""

from __future__ import annotations

from fastapi import FastAPI

from services.application import create_domain_service
from shared.settings import Settings

DESCRIPTION = "Generates pictures and animations: fashion designs and talking heads."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.generation.app:create_app`."""
    return create_domain_service("generation", title="Facet generation", description=DESCRIPTION, settings=settings)
