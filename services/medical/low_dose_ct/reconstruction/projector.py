"""The forward projector: line integrals of an image along parallel rays, after Joseph (1982).

Each ray steps through the image one row (or column) at a time, whichever axis it is more aligned with, and interpolates
linearly across the other axis; ASTRA's CPU projector, with which LoDoPaB-CT was made, does the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.medical.low_dose_ct.reconstruction.compilation import resolve_threads, share_range
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB, ParallelBeam


def forward_project(
    image: ArrayLike, geometry: ParallelBeam = LODOPAB, *, threads: int | None = None
) -> NDArray[np.float32]:
    """Compute the line integrals of an image along all rays of a scan.

    Args:
        image: (rows, columns) as in the geometry, finite.
        geometry: the scan.
        threads: threads to compute with, at most the cores at hand; all of them by default.

    Returns:
        Sinogram (angles, detectors), float32, in image units times the unit of length of the geometry.

    Raises:
        ValueError: the image does not fit the geometry, or holds NaN or infinite values.
    """
    from services.medical.low_dose_ct.reconstruction.loops import project_angles

    values = np.asarray(image, dtype=np.float32)
    if values.shape != geometry.image_shape:
        raise ValueError(f"image of shape {values.shape} does not fit the geometry: expected {geometry.image_shape}")
    if not np.isfinite(values).all():
        raise ValueError("image holds NaN or infinite values")
    by_row = np.pad(values, ((0, 0), (1, 1)))
    by_column = np.pad(np.ascontiguousarray(values.T), ((0, 0), (1, 1)))
    angles = geometry.angles_rad
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    sinogram = np.zeros(geometry.sinogram_shape, dtype=np.float32)
    pixels_per_bin = geometry.detector_pitch / geometry.pixel_size
    share_range(
        geometry.angles,
        resolve_threads(threads),
        lambda first, beyond: project_angles(sinogram, by_row, by_column, directions, pixels_per_bin, first, beyond),
    )
    sinogram *= np.float32(geometry.pixel_size)
    return sinogram
