"""The forward projector: line integrals of an image along parallel rays, after Joseph (1982).

Each ray steps through the image one row (or column) at a time, whichever axis it is more aligned with, and interpolates
linearly across the other axis; ASTRA's CPU projector, with which LoDoPaB-CT was made, does the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.medical.low_dose_ct.compilation import compiled, resolve_threads, share_range
from services.medical.low_dose_ct.geometry import LODOPAB, ParallelBeam
from services.medical.low_dose_ct.interpolation import add_interpolated


@compiled
def _project_angles(
    sinogram: NDArray[np.float32],
    by_row: NDArray[np.float32],
    by_column: NDArray[np.float32],
    directions: NDArray[np.float64],
    pixels_per_bin: float,
    begin: int,
    end: int,
) -> None:  # pragma: no cover - compiled
    """Add up the rays of the angles [begin, end), in pixels.

    Args:
        sinogram: (angles, detectors), changed in place.
        by_row: image with a zero column at both sides, (rows, columns + 2).
        by_column: transposed image with a zero column at both sides, (columns, rows + 2).
        directions: (angles, 2), cosine and sine.
        pixels_per_bin: detector pitch in pixels.
        begin: first angle.
        end: angle after the last.
    """
    bins = sinogram.shape[1]
    for k in range(begin, end):
        cosine, sine = directions[k, 0], directions[k, 1]
        # A ray x * cosine + y * sine = s is nearly parallel to the y axis where |cosine| is large: step along y.
        lines, along, across = (by_column, sine, cosine) if abs(cosine) >= abs(sine) else (by_row, cosine, sine)
        step = pixels_per_bin / across
        origin = (lines.shape[1] - 3) / 2 + 1 - step * (bins - 1) / 2
        for line in range(lines.shape[0]):
            offset = (line - (lines.shape[0] - 1) / 2) * along / across
            add_interpolated(sinogram[k], lines[line], origin - offset, step)
        for detector in range(bins):
            sinogram[k, detector] /= abs(across)


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
        lambda first, beyond: _project_angles(sinogram, by_row, by_column, directions, pixels_per_bin, first, beyond),
    )
    sinogram *= np.float32(geometry.pixel_size)
    return sinogram
