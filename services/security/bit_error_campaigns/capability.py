"""What bit-error campaigns add to the security service."""

from __future__ import annotations

from typing import Final

from services.security.bit_error_campaigns.settings import CampaignSettings, upload_limit_bytes
from shared.capabilities.declaration import (
    AccessRule,
    BodyLimit,
    Capability,
    Sample,
    SampleFile,
    Scope,
    Tag,
)
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.security.bit_error_campaigns"
PATH: Final = "/v1/security/bit-error-campaigns"

CAMPAIGNS: Final = JobKind(
    name="security.bit-error-campaigns",
    queue="security.onnx",
    function=f"{_HERE}.jobs:run_campaign",
    title="Measure what bit errors in its weights cost a classifier",
    time_limit_s=3500,
    cancel_bound_s=10,
    step_unit="evaluation",
)

_SIGNS: Final = SampleFile(name="labelled-signs.zip", make=f"{_HERE}.demo:labelled_signs")
_SHAPES: Final = SampleFile(name="labelled-shapes.zip", make=f"{_HERE}.demo:labelled_shapes")
_OWN: Final = SampleFile(name="shapes.onnx", make=f"{_HERE}.demo:shape_classifier")

CAPABILITY: Final = Capability(
    name="bit_error_campaigns",
    domain="security",
    routers=(f"{_HERE}.routes:router",),
    state=f"{_HERE}.models:open_campaign_models",
    kinds=(CAMPAIGNS,),
    scopes=(
        Scope(name="security:run", allows="attack, protect and test models"),
        Scope(name="security:read", allows="read what the security service keeps"),
    ),
    access=(AccessRule(path=PATH, reading="security:read", running="security:run"),),
    body_limits=(BodyLimit(path=PATH, most_bytes=upload_limit_bytes),),
    tag=Tag(
        name="bit errors",
        description="What faulty memory cells do to a classifier: accuracy against bit error rate, the most fragile "
        "layers and bits, of any model of the fleet or of one's own.",
        order=60,
    ),
    settings=CampaignSettings,
    memory=MemoryBudget(idle_mib=20, used_mib=150),
    samples=(
        Sample(
            title="Test the classifier of signs",
            path=PATH,
            files={"dataset": _SIGNS},
            form={"model": "traffic-signs", "rates": "0.001,0.01", "seeds": "2", "analyses": "curve,bits"},
        ),
        Sample(
            title="Test a classifier of one's own",
            path=PATH,
            files={"dataset": _SHAPES, "file": _OWN},
            form={"rates": "0.001,0.01,0.05", "seeds": "5"},
        ),
        Sample(
            title="Ask what a campaign costs",
            path=f"{PATH}/estimates",
            files={"dataset": _SIGNS},
            form={"model": "traffic-signs"},
        ),
        Sample(
            title="Ask what a campaign on a classifier of one's own costs",
            path=f"{PATH}/estimates",
            files={"dataset": _SHAPES, "file": _OWN},
        ),
    ),
)
