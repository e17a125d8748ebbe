"""The jobs of the medical service, as both the routes that create them and the workers that run them know them."""

from __future__ import annotations

from shared.jobs.kinds import JobKind

CT_ENHANCEMENT_SERIES = JobKind(
    name="medical.ct.enhancements",
    queue="medical.onnx",
    function="services.medical.low_dose_ct.jobs:enhance_series",
    title="Enhance a series of CT slices",
    time_limit_s=1800,
    cancel_bound_s=10,
    step_unit="slice",
)

CT_RECONSTRUCTION_SERIES = JobKind(
    name="medical.ct.reconstructions",
    queue="medical.onnx",
    function="services.medical.low_dose_ct.jobs:reconstruct_series",
    title="Reconstruct a series of sinograms",
    time_limit_s=1800,
    cancel_bound_s=10,
    step_unit="slice",
)

KINDS = (CT_ENHANCEMENT_SERIES, CT_RECONSTRUCTION_SERIES)
