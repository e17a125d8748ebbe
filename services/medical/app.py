"""The medical service: chest X-ray and low-dose CT."""

from __future__ import annotations

from fastapi import FastAPI

from services.application import create_domain_service
from shared.settings import Settings

DESCRIPTION = "Reads chest films, and reconstructs and enhances CT slices. Research use only, not a medical device."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.medical.app:create_app`."""
    return create_domain_service("medical", title="Facet medical", description=DESCRIPTION, settings=settings)
