"""The generation service: fashion design by diffusion and talking heads."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from shared.service import create_service
from shared.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.generation.app:create_app`."""
    return create_service(
        "generation",
        title="Facet generation",
        description="Generates pictures and animations: fashion designs and talking heads.",
        models=Path(__file__).parent / "models",
        settings=settings,
    )
