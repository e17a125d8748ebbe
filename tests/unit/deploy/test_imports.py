"""What each process loads before its first request: libraries of 10 to 110 MB stay out of those that do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import DOMAINS

ROOT = Path(__file__).parents[3]

SCIPY = {"scipy.fft", "scipy.linalg", "scipy.ndimage", "scipy.sparse", "scipy.spatial", "scipy.special", "scipy.stats"}
"""What `import scipy` alone does not load."""
NUMBA = {"numba", "llvmlite"}
SERVICE = {"celery", "kombu", "matplotlib", "onnxruntime", "pyarrow", "torch", *NUMBA, *SCIPY}

ABSENT = {
    "gateway": {*SERVICE, "finufft", "numpy", "onnx", "PIL", "pydicom"},
    "generation": {*SERVICE, "finufft", "onnx", "PIL", "pydicom"},
    "security": {*SERVICE, "finufft", "onnx", "pydicom"},
    "perception": {*SERVICE, "finufft", "onnx", "pydicom"},
    "medical": {*SERVICE, "highdicom", "onnx"},
    "uncertainty": {*SERVICE, "finufft", "pydicom"},
}


def loaded(code: str) -> set[str]:
    """The modules of a fresh interpreter that ran this."""
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["gateway", *DOMAINS])
def test_an_application_loads_no_library_that_its_start_does_without(name: str) -> None:
    module = "gateway.app" if name == "gateway" else f"services.{name}.app"
    modules = loaded(f"from {module} import create_app; create_app()")
    assert module in modules
    assert not ABSENT[name] & modules


def test_a_gateway_that_knows_every_capability_is_as_light() -> None:
    modules = loaded(
        "from gateway.app import create_app; from services.declarations import declared_capabilities\n"
        "create_app(capabilities=declared_capabilities())"
    )
    assert "services.declarations" in modules
    assert not ABSENT["gateway"] & modules
    assert not [name for name in modules if name.startswith("services.") and name.endswith((".routes", ".inference"))]


def test_the_supervisor_and_a_worker_load_no_numerics() -> None:
    heavy = {*SERVICE, "finufft", "numpy", "onnx", "PIL", "pydicom"}
    assert not heavy & loaded("import deploy.local.__main__")
    assert not (heavy - {"celery", "kombu"}) & loaded("import services.worker")


def test_reconstruction_needs_no_compiled_loops() -> None:
    code = """
import numpy as np
from services.medical.low_dose_ct.inference import warm_up
warm_up(threads=1)
"""
    modules = loaded(code)
    assert {"finufft", "scipy.fft"} <= modules
    assert not NUMBA & modules


def test_a_simulated_scan_finds_its_loops_when_it_first_needs_them() -> None:
    code = "from services.medical.low_dose_ct.reconstruction.loop_cache import main; main()"
    assert loaded(code) >= NUMBA
