"""Conformal prediction over HTTP, a module for each resource."""

from __future__ import annotations

from services.uncertainty.conformal.http.routes.calibrations import router as calibrations
from services.uncertainty.conformal.http.routes.controls import router as controls
from services.uncertainty.conformal.http.routes.evaluations import router as evaluations
from services.uncertainty.conformal.http.routes.monitors import router as monitors
from services.uncertainty.conformal.http.routes.predictions import router as predictions
from services.uncertainty.conformal.http.routes.streams import router as streams

routers = (calibrations, predictions, evaluations, streams, monitors, controls)
"""All of them."""
