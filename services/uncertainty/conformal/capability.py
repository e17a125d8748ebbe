"""What conformal prediction adds to the uncertainty service."""

from __future__ import annotations

from typing import Final

from services.uncertainty.conformal.settings import ConformalSettings, upload_limit_bytes
from shared.capabilities.declaration import AccessRule, BodyLimit, Capability, Sample, SampleFile, Scope, Tag
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.uncertainty.conformal"
_CALIBRATIONS: Final = "/v1/uncertainty/calibrations"
_RISK_CONTROLS: Final = "/v1/uncertainty/risk-controls"
_PATHS: Final = (
    _CALIBRATIONS,
    _RISK_CONTROLS,
    "/v1/uncertainty/monitors",
    "/v1/uncertainty/predictive-distributions",
    "/v1/uncertainty/streams",
    "/v1/uncertainty/venn-abers",
)

MODEL_CALIBRATION: Final = JobKind(
    name="uncertainty.calibrations",
    queue="uncertainty.onnx",
    function=f"{_HERE}.application.jobs:calibrate_on_model",
    title="Calibrate a classifier of the fleet on labelled pictures",
    time_limit_s=1800,
    cancel_bound_s=60,
    step_unit="picture",
)

_LOGITS: Final = SampleFile(name="logits.npy", make=f"{_HERE}.demo:sample_logits")
_LABELS: Final = SampleFile(name="labels.npy", make=f"{_HERE}.demo:sample_labels")

CAPABILITY: Final = Capability(
    name="conformal",
    domain="uncertainty",
    routers=tuple(
        f"{_HERE}.http.routes.{name}:router"
        for name in ("calibrations", "predictions", "evaluations", "streams", "monitors", "controls")
    ),
    state=f"{_HERE}.http.resources:open_resources",
    kinds=(MODEL_CALIBRATION,),
    scopes=(
        Scope(name="uncertainty:run", allows="calibrate and predict sets, run streams and monitors"),
        Scope(name="uncertainty:read", allows="read calibrations, streams and monitors"),
    ),
    access=tuple(AccessRule(path=path, reading="uncertainty:read", running="uncertainty:run") for path in _PATHS),
    body_limits=tuple(BodyLimit(path=path, most_bytes=upload_limit_bytes) for path in (_CALIBRATIONS, _RISK_CONTROLS)),
    tag=Tag(
        name="conformal",
        description="Sets, intervals and probabilities with a guarantee: calibrate, predict, evaluate, and watch "
        "streams.",
        order=30,
    ),
    settings=ConformalSettings,
    memory=MemoryBudget(idle_mib=30, used_mib=120),
    samples=(
        Sample(title="Calibrate logits", path=_CALIBRATIONS, files={"logits": _LOGITS, "labels": _LABELS}),
        Sample(
            title="Calibrate a classifier of the fleet on drawn signs",
            path=_CALIBRATIONS,
            files={"file": SampleFile(name="signs.zip", make=f"{_HERE}.demo:sample_signs")},
            form={"model": "traffic-signs"},
        ),
    ),
)
