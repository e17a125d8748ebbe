"""What conformal prediction adds to the uncertainty service."""

from __future__ import annotations

from typing import Final

from services.uncertainty.conformal.settings import ConformalSettings, upload_limit_bytes
from shared.capabilities.declaration import AccessRule, BodyLimit, Capability, Sample, SampleFile, Scope, Tag
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.uncertainty.conformal"
_CALIBRATIONS: Final = "/v1/uncertainty/calibrations"
_DISTRIBUTIONS: Final = "/v1/uncertainty/predictive-distributions"
_MONITORS: Final = "/v1/uncertainty/monitors"
_RISK_CONTROLS: Final = "/v1/uncertainty/risk-controls"
_STREAMS: Final = "/v1/uncertainty/streams"
_VENN_ABERS: Final = "/v1/uncertainty/venn-abers"
_PATHS: Final = (_CALIBRATIONS, _RISK_CONTROLS, _MONITORS, _DISTRIBUTIONS, _STREAMS, _VENN_ABERS)

MODEL_CALIBRATION: Final = JobKind(
    name="uncertainty.calibrations",
    queue="uncertainty.onnx",
    function=f"{_HERE}.application.jobs:calibrate_on_model",
    title="Calibrate a classifier of the fleet on labelled images",
    time_limit_s=1800,
    cancel_bound_s=60,
    step_unit="image",
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
        Sample(
            title="Predict sets of classes",
            path=f"{_CALIBRATIONS}/{{calibration_id}}/predictions",
            files={"logits": _LOGITS},
        ),
        Sample(
            title="Evaluate a calibration",
            path=f"{_CALIBRATIONS}/{{calibration_id}}/evaluations",
            files={"logits": _LOGITS, "labels": _LABELS},
        ),
        Sample(title="Begin a stream of intervals", path=_STREAMS, json={"alpha": 0.2, "scores": [0.3, 0.1, 0.4]}),
        Sample(
            title="Predict the next interval",
            path=f"{_STREAMS}/{{stream_id}}/predictions",
            json={"points": [{"prediction": 1.2}]},
        ),
        Sample(
            title="Observe labels",
            path=f"{_STREAMS}/{{stream_id}}/observations",
            json={"observations": [{"prediction": 1.2, "label": 1.5}, {"prediction": 1.4, "label": 1.3}]},
        ),
        Sample(title="Begin to watch scores", path=_MONITORS, json={"observes": "scores", "delta": 0.05}),
        Sample(
            title="Watch scores",
            path=f"{_MONITORS}/{{monitor_id}}/observations",
            json={"scores": [0.3, 0.8, 0.1]},
        ),
        Sample(
            title="Keep the share of missed pixels below a bound",
            path=_RISK_CONTROLS,
            json={
                "alpha": 0.5,
                "lambdas": [0.0, 0.5, 1.0],
                "losses": [[1.0, 0.4, 0.0], [0.8, 0.2, 0.0], [0.9, 0.3, 0.0], [1.0, 0.1, 0.0]],
            },
        ),
        Sample(
            title="Calibrate the scores of two classes",
            path=_VENN_ABERS,
            json={"scores": [0.1, 0.4, 0.6, 0.9], "labels": [0, 0, 1, 1], "test_scores": [0.2, 0.7]},
        ),
        Sample(
            title="Predict a distribution",
            path=_DISTRIBUTIONS,
            json={
                "predictions": [1.0, 2.0, 3.0, 4.0],
                "targets": [1.1, 1.8, 3.2, 4.1],
                "test_predictions": [2.5],
            },
        ),
    ),
)
