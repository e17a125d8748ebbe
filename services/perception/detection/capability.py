"""What detection adds to the perception service."""

from __future__ import annotations

from typing import Final

from services.perception.detection.settings import DetectionSettings, upload_limit_bytes
from shared.capabilities.declaration import AccessRule, BodyLimit, Capability, Sample, SampleFile, Scope, Tag
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.perception.detection"
PATH: Final = "/v1/perception/detections"
_EVALUATIONS: Final = f"{PATH}/evaluations"
ADAPTATION_PATH: Final = "/v1/perception/adaptations"

EVALUATIONS: Final = JobKind(
    name="perception.detection.evaluations",
    queue="perception.onnx",
    function=f"{_HERE}.jobs:run_evaluation",
    title="Measure a detector on annotated pictures",
    time_limit_s=3500,
    cancel_bound_s=30,
    step_unit="picture",
)

ADAPTATIONS: Final = JobKind(
    name="perception.detection.adaptations",
    queue="perception.torch",
    function=f"{_HERE}.optimisation.jobs:adapt",
    title="Adapt a detector to a domain without labels",
    time_limit_s=3500,
    cancel_bound_s=60,
    step_unit="step",
)

_STREET: Final = SampleFile(name="street.png", make=f"{_HERE}.demo:street")
_ANNOTATED: Final = SampleFile(name="annotated-streets.zip", make=f"{_HERE}.demo:annotated_streets")

CAPABILITY: Final = Capability(
    name="detection",
    domain="perception",
    routers=(f"{_HERE}.routes:router", f"{_HERE}.evaluation_routes:router", f"{_HERE}.adaptation_routes:router"),
    kinds=(EVALUATIONS, ADAPTATIONS),
    scopes=(
        Scope(name="perception:run", allows="detect objects, and measure detectors"),
        Scope(name="perception:adapt", allows="train detectors, and add those to what the perception service has"),
        Scope(name="perception:read", allows="read what the perception service keeps"),
    ),
    access=(
        AccessRule(path=PATH, reading="perception:read", running="perception:run"),
        AccessRule(path=ADAPTATION_PATH, reading="perception:read", running="perception:adapt"),
    ),
    body_limits=(
        BodyLimit(path=_EVALUATIONS, most_bytes=upload_limit_bytes),
        BodyLimit(path=ADAPTATION_PATH, most_bytes=upload_limit_bytes),
    ),
    tag=Tag(
        name="detection",
        description="Where objects are on a picture, and how well a detector, released or uploaded, finds those of "
        "annotated pictures.",
        order=17,
    ),
    settings=DetectionSettings,
    memory=MemoryBudget(idle_mib=40, used_mib=200),
    samples=(
        Sample(title="Find vehicles", path=PATH, files={"file": _STREET}),
        Sample(
            title="Find vehicles, as a document of COCO",
            path=PATH,
            files={"file": _STREET},
            form={"layout": "coco", "score_threshold": "0.3", "limit": "20"},
        ),
        Sample(
            title="Measure the detector of vehicles",
            path=_EVALUATIONS,
            files={"file": _ANNOTATED},
            form={"class_mapping": '{"car": "vehicle"}'},
        ),
        Sample(
            title="Adapt a small detector to dusk, in half a minute",
            path=ADAPTATION_PATH,
            files={
                "source": _ANNOTATED,
                "target": SampleFile(name="dusk-streets.zip", make=f"{_HERE}.demo:dusk_streets"),
                "holdout": SampleFile(name="annotated-dusk-streets.zip", make=f"{_HERE}.demo:annotated_dusk_streets"),
            },
            form={
                "backbone": "scratch",
                "short_side": "128",
                "batch": "1",
                "burn_in": "20",
                "steps": "10",
                "threshold": "0.05",
            },
        ),
    ),
)
