"""What low-dose CT adds to the medical service."""

from __future__ import annotations

from typing import Final

from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile, Scope, Tag
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget

_HERE: Final = "services.medical.low_dose_ct"

CT_ENHANCEMENT_SERIES: Final = JobKind(
    name="medical.ct.enhancements",
    queue="medical.onnx",
    function=f"{_HERE}.jobs:enhance_series",
    title="Enhance a series of CT slices",
    time_limit_s=1800,
    cancel_bound_s=10,
    step_unit="slice",
)

CT_RECONSTRUCTION_SERIES: Final = JobKind(
    name="medical.ct.reconstructions",
    queue="medical.onnx",
    function=f"{_HERE}.jobs:reconstruct_series",
    title="Reconstruct a series of sinograms",
    time_limit_s=1800,
    cancel_bound_s=10,
    step_unit="slice",
)

_SLICE: Final = SampleFile(name="low-dose.dcm", make=f"{_HERE}.demo:low_dose_slice")

CAPABILITY: Final = Capability(
    name="low_dose_ct",
    domain="medical",
    routers=(f"{_HERE}.routes:router",),
    warm_ups=(f"{_HERE}.warm_ups:compile_loops", f"{_HERE}.warm_ups:plan_reconstruction"),
    kinds=(CT_ENHANCEMENT_SERIES, CT_RECONSTRUCTION_SERIES),
    scopes=(
        Scope(name="medical:run", allows="enhance, reconstruct and diagnose medical images"),
        Scope(name="medical:read", allows="read what the medical service keeps"),
    ),
    access=(AccessRule(path="/v1/medical/ct", reading="medical:read", running="medical:run"),),
    tag=Tag(
        name="low-dose CT",
        description="CT slices out of few photons: reconstruct sinograms, enhance slices, simulate low-dose scans. "
        "Research use only, not a medical device.",
        order=10,
    ),
    memory=MemoryBudget(idle_mib=125, used_mib=350),
    samples=(
        Sample(title="Enhance a noisy slice", path="/v1/medical/ct/enhancements", files={"file": _SLICE}),
        Sample(
            title="Enhance a series of slices",
            path="/v1/medical/ct/enhancements",
            files={"file": SampleFile(name="low-dose-series.zip", make=f"{_HERE}.demo:low_dose_series")},
        ),
        Sample(
            title="Reconstruct a noisy sinogram",
            path="/v1/medical/ct/reconstructions",
            files={"file": SampleFile(name="low-dose-sinogram.npy", make=f"{_HERE}.demo:low_dose_sinogram")},
        ),
        Sample(
            title="Simulate a low-dose scan",
            path="/v1/medical/ct/simulations",
            files={"file": SampleFile(name="normal-dose.dcm", make=f"{_HERE}.demo:normal_dose_slice")},
        ),
        Sample(title="Scan a drawn chest", path="/v1/medical/ct/simulations", form={"phantom": "chest"}),
    ),
)
