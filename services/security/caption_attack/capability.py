"""What caption attacks add to the security service."""

from __future__ import annotations

from typing import Final

from services.security.caption_attack.settings import CaptionAttackSettings
from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile, Scope, Tag
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.security.caption_attack"
PATH: Final = "/v1/security/caption-attacks"
ENDPOINTS_PATH: Final = "/v1/security/caption-endpoints"

ATTACKS: Final = JobKind(
    name="security.caption-attacks",
    queue="security.onnx",
    function=f"{_HERE}.jobs:run_attack",
    title="Test how little it takes to change what a captioner says",
    time_limit_s=3500,
    cancel_bound_s=25,
    step_unit="query",
)

_SCENE: Final = SampleFile(name="scene.png", make=f"{_HERE}.demo:scene")

CAPABILITY: Final = Capability(
    name="caption_attack",
    domain="security",
    routers=(f"{_HERE}.routes:router",),
    kinds=(ATTACKS,),
    scopes=(
        Scope(name="security:run", allows="attack, protect and test models"),
        Scope(name="security:read", allows="read what the security service keeps"),
    ),
    access=(
        AccessRule(path=PATH, reading="security:read", running="security:run"),
        AccessRule(path=ENDPOINTS_PATH, reading="security:read", running="security:run"),
    ),
    tag=Tag(
        name="caption attacks",
        description="How few pixels make a captioner say something else, found by asking alone, at a budget that is "
        "never exceeded; of a captioner of the fleet, or of one's own that the operator has registered.",
        order=61,
    ),
    settings=CaptionAttackSettings,
    memory=MemoryBudget(idle_mib=10, used_mib=60),
    samples=(
        Sample(
            title="Attack the caption of a drawn scene",
            path=PATH,
            files={"file": _SCENE},
            form={"queries": "60", "arms": "A,N", "pixels_percent": "4", "bound": "120", "defences": "jpeg_75"},
        ),
        Sample(title="Ask what an attack costs", path=f"{PATH}/estimates", files={"file": _SCENE}),
    ),
)
