"""What classification adds to the perception service."""

from __future__ import annotations

from typing import Final

from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile, Scope, Tag
from shared.memory import MemoryBudget

_HERE: Final = "services.perception.classification"
_PATH: Final = "/v1/perception/classifications"

CAPABILITY: Final = Capability(
    name="classification",
    domain="perception",
    routers=(f"{_HERE}.routes:router",),
    scopes=(
        Scope(name="perception:run", allows="classify, detect and caption"),
        Scope(name="perception:read", allows="read what the perception service keeps"),
    ),
    access=(AccessRule(path=_PATH, reading="perception:read", running="perception:run"),),
    tag=Tag(
        name="classification",
        description="What is on a picture: the released traffic-sign classifier, and classifiers that were uploaded.",
        order=15,
    ),
    memory=MemoryBudget(idle_mib=70, used_mib=180),
    samples=(
        Sample(
            title="Classify a stop sign",
            path=_PATH,
            files={"file": SampleFile(name="sign.png", make=f"{_HERE}.demo:stop_sign")},
        ),
    ),
)
