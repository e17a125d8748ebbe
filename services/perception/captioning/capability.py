"""What captioning adds to the perception service."""

from __future__ import annotations

from typing import Final

from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile, Scope, Tag
from shared.memory import MemoryBudget

_HERE: Final = "services.perception.captioning"
_PATH: Final = "/v1/perception/captions"

_MEADOW: Final = SampleFile(name="meadow.png", make=f"{_HERE}.demo:meadow")

CAPABILITY: Final = Capability(
    name="captioning",
    domain="perception",
    routers=(f"{_HERE}.routes:router",),
    scopes=(
        Scope(name="perception:run", allows="caption pictures"),
        Scope(name="perception:read", allows="read what the perception service keeps"),
    ),
    access=(AccessRule(path=_PATH, reading="perception:read", running="perception:run"),),
    tag=Tag(
        name="captioning",
        description="What is on a picture, in words, and where the captioner looked for each of them.",
        order=16,
    ),
    memory=MemoryBudget(idle_mib=10, used_mib=200),
    samples=(
        Sample(title="Caption a dog on grass", path=_PATH, files={"file": _MEADOW}, form={"beams": "3"}),
        Sample(
            title="See where the captioner looked", path=_PATH, files={"file": _MEADOW}, form={"attention": "values"}
        ),
    ),
)
