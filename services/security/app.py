"""The security service: attacks on the fleet's own models, and defences."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from shared.service import create_service
from shared.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.security.app:create_app`."""
    return create_service(
        "security",
        title="Facet security",
        description="Attacks and defences that model owners test their models with.",
        models=Path(__file__).parent / "models",
        settings=settings,
    )
