"""The security service: attacks on the fleet's own models, and defences."""

from __future__ import annotations

from fastapi import FastAPI

from services.application import create_domain_service
from shared.settings import Settings

DESCRIPTION = "Attacks and defences that model owners test their models with."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.security.app:create_app`."""
    return create_domain_service("security", title="Facet security", description=DESCRIPTION, settings=settings)
