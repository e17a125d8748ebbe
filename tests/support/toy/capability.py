"""What the toy adds to the security service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.capabilities.declaration import AccessRule, Capability, FileType, Sample, SampleFile, Scope, Tag
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "tests.support.toy"
PATH: Final = "/v1/security/toys"

SMOOTHING: Final = JobKind(
    name="security.toys.smoothings",
    queue="security.onnx",
    function=f"{_HERE}.jobs:smooth",
    title="Smooth an image again and again",
    time_limit_s=120,
    cancel_bound_s=2,
)

DESCENT: Final = JobKind(
    name="security.toys.descents",
    queue="security.torch",
    function=f"{_HERE}.optimisation.descent:descend",
    title="Find an image whose smoothed copy is the one that was posted",
    time_limit_s=120,
    cancel_bound_s=2,
)

CAPABILITY: Final = Capability(
    name="toy",
    domain="security",
    routers=(f"{_HERE}.routes:router",),
    state=f"{_HERE}.routes:open_counter",
    warm_ups=(f"{_HERE}.routes:warm_up",),
    kinds=(SMOOTHING, DESCENT),
    models=Path(__file__).parent / "models",
    scopes=(
        Scope(name="attack:run", allows="play with toys"),
        Scope(name="attack:read", allows="look at toys"),
    ),
    access=(AccessRule(path=PATH, reading="attack:read", running="attack:run"),),
    tag=Tag(name="toys", description="Smooths images, and undoes it.", order=5),
    file_types=(FileType(media_type="application/x-toy", extension="toy"),),
    memory=MemoryBudget(idle_mib=5, used_mib=10),
    samples=(
        Sample(title="Smooth it", path=PATH, files={"file": SampleFile(name="toy.npy", make=f"{_HERE}.demo:image")}),
    ),
)
