"""Back-projection pixel by pixel with linear interpolation on the detector: the reference method.

This is what ODL and ASTRA compute and what the paper sheet states (section 5); `nonuniform.py` is the fast road to the
same picture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.compilation import compiled, resolve_threads, share_range
from services.medical.low_dose_ct.geometry import ParallelBeam
from services.medical.low_dose_ct.interpolation import add_interpolated

ROWS_PER_BLOCK = 16
"""Image rows that stay in the first-level cache while all angles pass over them."""


@compiled
def _add_projections(
    image: NDArray[np.float32],
    projections: NDArray[np.float32],
    steps: NDArray[np.float64],
    corners: NDArray[np.float64],
    begin: int,
    end: int,
) -> None:  # pragma: no cover - compiled
    """Add all projections to the image rows [begin, end).

    Args:
        image: (rows, columns), changed in place.
        projections: (angles, bins + 2), a zero at both ends.
        steps: (angles, 2), detector bins per row and per column of the image.
        corners: (angles,), position of pixel (0, 0) in `projections`.
        begin: first row.
        end: row after the last.
    """
    for top in range(begin, end, ROWS_PER_BLOCK):
        for k in range(projections.shape[0]):
            for row in range(top, min(top + ROWS_PER_BLOCK, end)):
                add_interpolated(image[row], projections[k], corners[k] + row * steps[k, 0], steps[k, 1])


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
        lambda first, beyond: _add_projections(image, projections, steps, corners, first, beyond),
    )
    image *= np.float32(math.pi / geometry.angles)
    return image
