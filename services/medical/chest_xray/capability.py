"""What chest X-ray adds to the medical service."""

from __future__ import annotations

from typing import Final

from services.medical.chest_xray.settings import ChestXraySettings
from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile, Scope, Tag
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.medical.chest_xray"
_PATH: Final = "/v1/medical/chest-xray"
_DIAGNOSES: Final = f"{_PATH}/diagnoses"

DIAGNOSES: Final = JobKind(
    name="medical.chest-xray.diagnoses",
    queue="medical.onnx",
    function=f"{_HERE}.jobs:diagnose_series",
    title="Read a series of chest films",
    time_limit_s=1800,
    cancel_bound_s=30,
    step_unit="film",
)

_FILM: Final = SampleFile(name="chest-film.dcm", make=f"{_HERE}.demo:chest_film")

CAPABILITY: Final = Capability(
    name="chest_xray",
    domain="medical",
    routers=(f"{_HERE}.routes:router",),
    state=f"{_HERE}.prediction_sets:open_calibrations",
    kinds=(DIAGNOSES,),
    scopes=(
        Scope(name="medical:run", allows="enhance, reconstruct and diagnose medical images"),
        Scope(name="medical:read", allows="read what the medical service keeps"),
    ),
    access=(AccessRule(path=_PATH, reading="medical:read", running="medical:run"),),
    tag=Tag(
        name="chest X-ray",
        description="Frontal chest films: normal, signs of heart failure or pneumonia, and where a radiologist would "
        "look (predicted attention, not measured gaze). Research use only, not a medical device.",
        order=9,
    ),
    settings=ChestXraySettings,
    memory=MemoryBudget(idle_mib=120, used_mib=450),
    # A drawn chest is no film, so the samples are not screened.
    samples=(
        Sample(title="Read a drawn film", path=_DIAGNOSES, files={"file": _FILM}, form={"screen": "false"}),
        Sample(
            title="Read a drawn film of inverted greys, as DICOM report",
            path=_DIAGNOSES,
            files={"file": SampleFile(name="chest-film-monochrome1.dcm", make=f"{_HERE}.demo:chest_film_lowest_white")},
            form={"screen": "false", "dicom": "report", "region_share": "0.8"},
        ),
        Sample(
            title="Read a drawn film that is a picture, and keep an overlay of it",
            path=_DIAGNOSES,
            files={"file": SampleFile(name="chest-film.png", make=f"{_HERE}.demo:chest_picture")},
            form={"screen": "false", "overlay": "evidence", "store": "png"},
        ),
        Sample(
            title="Read a series of films",
            path=_DIAGNOSES,
            files={"file": SampleFile(name="chest-films.zip", make=f"{_HERE}.demo:chest_series")},
            form={"screen": "false"},
        ),
    ),
)
