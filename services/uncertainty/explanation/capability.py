"""What explanation adds to the uncertainty service."""

from __future__ import annotations

from typing import Final

from services.uncertainty.explanation.settings import ExplanationSettings
from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile, Scope, Tag
from shared.memory import MemoryBudget

_HERE: Final = "services.uncertainty.explanation"
_PATHS: Final = ("/v1/uncertainty/explanations", "/v1/uncertainty/explainers")

CAPABILITY: Final = Capability(
    name="explanation",
    domain="uncertainty",
    routers=(f"{_HERE}.routes:router",),
    state=f"{_HERE}.explainers:open_explainers",
    warm_ups=(f"{_HERE}.explainers:convert_released",),
    scopes=(
        Scope(name="uncertainty:run", allows="explain what classifiers answer"),
        Scope(name="uncertainty:read", allows="list what can be explained"),
    ),
    access=tuple(AccessRule(path=path, reading="uncertainty:read", running="uncertainty:run") for path in _PATHS),
    tag=Tag(
        name="explanation",
        description="Which pixels speak for a class and which against it, by sharing ratio decomposition and by the "
        "methods that it is compared with.",
        order=20,
    ),
    settings=ExplanationSettings,
    memory=MemoryBudget(idle_mib=135, used_mib=600),
    samples=(
        Sample(
            title="Explain why it is a stop sign",
            path=_PATHS[0],
            files={"file": SampleFile(name="explained-sign.png", make=f"{_HERE}.demo:stop_sign")},
        ),
        Sample(
            title="Make a classifier explain itself",
            path=f"{_PATHS[1]}/conversions",
            files={"file": SampleFile(name="classifier.onnx", make=f"{_HERE}.demo:classifier")},
        ),
    ),
)
