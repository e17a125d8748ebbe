"""The uncertainty service: conformal prediction and explanations."""

from __future__ import annotations

from fastapi import FastAPI

from services.application import create_domain_service
from shared.settings import Settings

DESCRIPTION = "Says how sure a model is, and why it answers what it answers."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.uncertainty.app:create_app`."""
    return create_domain_service("uncertainty", title="Facet uncertainty", description=DESCRIPTION, settings=settings)
