"""The jobs of the uncertainty service, as both the routes that create them and the workers that run them know them."""

from __future__ import annotations

from shared.jobs.kinds import JobKind

MODEL_CALIBRATION = JobKind(
    name="uncertainty.calibrations",
    queue="uncertainty.onnx",
    function="services.uncertainty.conformal.application.jobs:calibrate_on_model",
    title="Calibrate a classifier of the fleet on labelled pictures",
    time_limit_s=1800,
    cancel_bound_s=60,
    step_unit="picture",
)

KINDS = (MODEL_CALIBRATION,)
