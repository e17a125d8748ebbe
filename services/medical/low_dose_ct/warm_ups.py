"""What the medical service does before it is ready, so that no caller of the CT routes waits for it."""

from __future__ import annotations

from services.medical.low_dose_ct.inference import warm_up
from services.medical.low_dose_ct.reconstruction.loop_cache import fill_loop_cache
from shared.service_state import ServiceState


def compile_loops(_: ServiceState) -> None:
    """Have the compiled loops ready on disk.

    Raises:
        CalledProcessError: they cannot be compiled.
        TimeoutExpired: it took more than two minutes.
    """
    fill_loop_cache()


def plan_reconstruction(service: ServiceState) -> None:
    """Plan the back-projection of the usual geometry."""
    warm_up(threads=service.settings.inference_threads)
