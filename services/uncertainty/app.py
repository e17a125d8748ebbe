"""The uncertainty service: conformal prediction and explanations."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from shared.service import create_service
from shared.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.uncertainty.app:create_app`."""
    return create_service(
        "uncertainty",
        title="Facet uncertainty",
        description="Says how sure a model is, and why it answers what it answers.",
        models=Path(__file__).parent / "models",
        settings=settings,
    )
