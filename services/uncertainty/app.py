"""The uncertainty service: conformal prediction and explanations."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from services.uncertainty.conformal.http.resources import closing_resources, conformal_resources
from services.uncertainty.conformal.http.routes import routers as conformal
from services.uncertainty.explanation.explainers import Explainers
from services.uncertainty.explanation.routes import router as explanation
from shared.service import create_service
from shared.settings import Settings, get_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.uncertainty.app:create_app`."""
    settings = settings or get_settings()
    explainers = Explainers(settings)
    app = create_service(
        "uncertainty",
        title="Facet uncertainty",
        description="Says how sure a model is, and why it answers what it answers.",
        models=Path(__file__).parent / "models",
        routers=[explanation, *conformal],
        warm_ups=[explainers.open_explainers],
        lifespans=[closing_resources],
        settings=settings,
    )
    app.state.explainers = explainers
    app.state.conformal = conformal_resources(settings)
    return app
