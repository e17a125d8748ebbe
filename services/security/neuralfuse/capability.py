"""What NeuralFuse adds to the security service."""

from __future__ import annotations

from typing import Final

from services.security.neuralfuse.settings import NeuralFuseSettings
from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile, Scope, Tag
from shared.memory import MemoryBudget

_HERE: Final = "services.security.neuralfuse"
PATH: Final = "/v1/security/neuralfuse"

_SIGN: Final = SampleFile(name="low-voltage-sign.png", make=f"{_HERE}.demo:stop_sign")

CAPABILITY: Final = Capability(
    name="neuralfuse",
    domain="security",
    routers=(f"{_HERE}.routes:router",),
    state=f"{_HERE}.networks:open_networks",
    scopes=(
        Scope(name="security:run", allows="ask classifiers at low voltage, with and without protection"),
        Scope(name="security:read", allows="list generators and fetch them fused with a classifier"),
    ),
    access=(AccessRule(path=PATH, reading="security:read", running="security:run"),),
    tag=Tag(
        name="NeuralFuse",
        description="Classifiers whose weights are read at low voltage, with bit errors, and pictures that are made "
        "ready for them. Bit errors are simulated; energy is arithmetic from published constants, no measurement.",
        order=50,
    ),
    settings=NeuralFuseSettings,
    memory=MemoryBudget(idle_mib=110, used_mib=600),
    samples=(
        Sample(
            title="What bit errors do to a classifier of signs",
            path=f"{PATH}/predictions",
            files={"file": _SIGN},
            form={"model": "traffic-signs", "generator": "none"},
        ),
        Sample(title="Read a stop sign at low voltage, protected", path=f"{PATH}/predictions", files={"file": _SIGN}),
    ),
)
