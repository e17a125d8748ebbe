"""What camouflages add to the security service."""

from __future__ import annotations

from typing import Final

from services.security.camouflage.settings import CamouflageSettings, upload_limit_bytes
from shared.capabilities.declaration import (
    AccessRule,
    BodyLimit,
    Capability,
    FileType,
    Sample,
    SampleFile,
    Scope,
    Tag,
)
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.security.camouflage"
PATH: Final = "/v1/security/camouflages"
RENDERS_PATH: Final = f"{PATH}/renders"
ENDPOINTS_PATH: Final = "/v1/security/detector-endpoints"

CAMOUFLAGES: Final = JobKind(
    name="security.camouflages",
    queue="security.torch",
    function=f"{_HERE}.optimisation.jobs:make_camouflage",
    title="Test how far a detector degrades when a simulated car's paint is optimised",
    time_limit_s=3500,
    cancel_bound_s=60,
    step_unit="step",
)

_STREETS: Final = SampleFile(name="empty-streets.zip", make=f"{_HERE}.demo:empty_streets")
_TEXTURE: Final = SampleFile(name="stripes.png", make=f"{_HERE}.demo:stripes")

CAPABILITY: Final = Capability(
    name="camouflage",
    domain="security",
    routers=(f"{_HERE}.routes:router", f"{_HERE}.render_routes:router"),
    state=f"{_HERE}.detection.fleet_detectors:open_fleet_detectors",
    kinds=(CAMOUFLAGES,),
    scopes=(
        Scope(name="security:run", allows="attack, protect and test models"),
        Scope(name="security:read", allows="read what the security service keeps"),
    ),
    access=(
        AccessRule(path=PATH, reading="security:read", running="security:run"),
        AccessRule(path=ENDPOINTS_PATH, reading="security:read", running="security:run"),
    ),
    body_limits=(BodyLimit(path=PATH, most_bytes=upload_limit_bytes),),
    tag=Tag(
        name="camouflage",
        description="How far one's own detector of vehicles degrades when the paint of a simulated car is optimised. "
        "Simulation only.",
        order=62,
    ),
    file_types=(FileType(media_type="image/webp", extension="webp"),),
    settings=CamouflageSettings,
    memory=MemoryBudget(idle_mib=15, used_mib=400),
    samples=(
        Sample(
            title="Look at a painted car",
            path=RENDERS_PATH,
            files={"file": _TEXTURE},
            form={"car": "sedan", "azimuth": "40", "width": "320", "height": "240"},
        ),
        Sample(
            title="See what is on the picture",
            path=RENDERS_PATH,
            form={"car": "van", "paint": "#b03028", "width": "320", "height": "240", "street": "3"},
        ),
        Sample(
            title="Optimise a small texture in a minute",
            path=PATH,
            files={"background": _STREETS},
            form={
                "steps": "4",
                "batch": "2",
                "scenes": "4",
                "lights": "4",
                "side": "96",
                "texture_side": "128",
                "azimuths": "4",
            },
        ),
        Sample(
            title="Ask what a camouflage costs",
            path=f"{PATH}/estimates",
            form={"transfer": "nanodet", "mode": "sticker", "share": "0.2"},
        ),
    ),
)
