"""The perception service: the models that others attack, protect and explain."""

from __future__ import annotations

from fastapi import FastAPI

from services.application import create_domain_service
from shared.settings import Settings

DESCRIPTION = "Detects, captions and classifies: the models that others attack, protect and explain."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.perception.app:create_app`."""
    return create_domain_service("perception", title="Facet perception", description=DESCRIPTION, settings=settings)
