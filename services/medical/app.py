"""The medical service: low-dose CT."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI

from services.medical.low_dose_ct.inference import warm_up
from services.medical.low_dose_ct.loop_cache import fill_loop_cache
from services.medical.low_dose_ct.released import MODELS
from services.medical.low_dose_ct.routes import router as low_dose_ct
from shared.service import create_service
from shared.settings import Settings, get_settings

DESCRIPTION = "Reconstructs and enhances medical images. Research use only, not a medical device."


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory services.medical.app:create_app`."""
    settings = settings or get_settings()
    return create_service(
        "medical",
        title="Facet medical",
        description=DESCRIPTION,
        models=MODELS,
        routers=[low_dose_ct],
        warm_ups=[fill_loop_cache, partial(warm_up, threads=settings.inference_threads)],
        settings=settings,
    )
