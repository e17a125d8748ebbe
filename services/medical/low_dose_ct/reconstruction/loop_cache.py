"""Compiles the loops to numba's cache on disk, in a process of its own that ends.

numba and its compiled loops take 107 MB, and only simulated scans and the reference method need them. So the service
does without until the first of those comes, which then finds machine code on disk: 0.9 s instead of 2.3 s, once.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from services.medical.low_dose_ct.reconstruction.backprojection import back_project_linear
from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam
from services.medical.low_dose_ct.reconstruction.projector import forward_project

_SMALL = ParallelBeam(angles=4, detectors=8, image_shape=(8, 8))
_TIMEOUT_S = 120.0


def fill_loop_cache() -> None:
    """Compile in a process of its own. Blocking: a second, or three the first time on a machine.

    Raises:
        CalledProcessError: the loops cannot be compiled.
        TimeoutExpired: it took more than two minutes.
    """
    subprocess.run([sys.executable, "-m", __name__], check=True, timeout=_TIMEOUT_S)


def main() -> None:
    """Run every loop once."""
    sinogram = forward_project(np.zeros(_SMALL.image_shape), _SMALL, threads=1)
    back_project_linear(sinogram, _SMALL, threads=1)


if __name__ == "__main__":
    main()
