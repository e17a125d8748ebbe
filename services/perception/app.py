"""The perception service: the models that others attack, protect and explain."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from services.perception.classification.routes import router as classification
from shared.service import create_service
from shared.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.perception.app:create_app`."""
    return create_service(
        "perception",
        title="Facet perception",
        description="Detects, captions and classifies: the models that others attack, protect and explain.",
        models=Path(__file__).parent / "models",
        routers=[classification],
        settings=settings,
    )
