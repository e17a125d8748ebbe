"""Back-projection pixel by pixel with linear interpolation on the detector: the reference method.

This is what ODL and ASTRA compute and what the paper sheet states (section 5); `nonuniform.py` is the fast road to the
same picture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.reconstruction.compilation import resolve_threads, share_range
from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam


def back_project_linear(
    filtered: NDArray[np.float32], geometry: ParallelBeam, *, threads: int | None = None
) -> NDArray[np.float32]:
    """Compute (pi / angles) * sum over angles of q_k(x . theta_k), linear between detector bins, zero outside.

    Args:
        filtered: filtered projections, (angles, detectors).
        geometry: the scan.
        threads: threads to compute with; all cores by default.

    Returns:
        The image, float32, `geometry.image_shape`.
    """
    from services.medical.low_dose_ct.reconstruction.loops import add_projections

    angles = geometry.angles_rad
    bins_per_pixel = geometry.pixel_size / geometry.detector_pitch
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * bins_per_pixel
    middle = (np.array(geometry.image_shape) - 1) / 2
    corners = (geometry.detectors - 1) / 2 + 1 - steps @ middle
    projections = np.pad(np.asarray(filtered, dtype=np.float32), ((0, 0), (1, 1)))
    image = np.zeros(geometry.image_shape, dtype=np.float32)
    share_range(
        geometry.image_shape[0],
        resolve_threads(threads),
        lambda first, beyond: add_projections(image, projections, steps, corners, first, beyond),
    )
    image *= np.float32(math.pi / geometry.angles)
    return image
