"""Filtered back-projection of parallel-beam sinograms.

`f(x) = (pi / angles) * sum_k (p_k * h)(x . theta_k)`, the filter h being the ramp times a window (`filters.py`), the
sum by one of two methods: `nonuniform`, a non-uniform fast Fourier transform, or `linear`, pixel by pixel with linear
interpolation, which is the reference. Filters and constants are those of ODL and DIVal, with which the reference
results of LoDoPaB-CT were made (doi 10.1038/s41597-021-00893-z).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from services.medical.low_dose_ct.reconstruction.backprojection import back_project_linear
from services.medical.low_dose_ct.reconstruction.compilation import resolve_threads
from services.medical.low_dose_ct.reconstruction.filters import FilterName, Ramp, filter_projections
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB, ParallelBeam
from services.medical.low_dose_ct.reconstruction.nonuniform import nonuniform_back_projector

Method = Literal["nonuniform", "linear"]

METHODS: tuple[Method, ...] = get_args(Method)


def checked_sinogram(sinogram: ArrayLike, geometry: ParallelBeam) -> NDArray[np.float32]:
    """Return the sinogram as float32 after checking that it can be reconstructed.

    Raises:
        ValueError: not real, not two or three dimensions, not the shape of the geometry, or NaN or infinite values.
    """
    given = np.asarray(sinogram)
    if given.dtype.kind not in "fiub":
        raise ValueError(f"sinogram must hold real numbers, got dtype {given.dtype}")
    if given.ndim not in (2, 3):
        raise ValueError(f"sinogram must have 2 dimensions (angles, detectors) or 3 (a stack), got {given.ndim}")
    if given.shape[-2:] != geometry.sinogram_shape:
        raise ValueError(
            f"sinogram of shape {given.shape[-2:]} does not fit the geometry: expected {geometry.sinogram_shape} "
            "(angles, detectors)"
        )
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = np.ascontiguousarray(given, dtype=np.float32)
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ValueError(f"sinogram holds {bad} NaN or infinite values")
    return values


def filtered_back_projection(
    sinogram: ArrayLike,
    geometry: ParallelBeam = LODOPAB,
    *,
    filter_name: FilterName = "hann",
    frequency_scaling: float = 1.0,
    ramp: Ramp = "spatial",
    method: Method = "nonuniform",
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Reconstruct an image, or a stack of them, from post-log projections.

    Args:
        sinogram: line integrals in image units times the unit of length of the geometry, (angles, detectors) or
            (slices, angles, detectors), finite.
        geometry: the scan.
        filter_name: ram-lak, shepp-logan, cosine, hamming or hann.
        frequency_scaling: cut-off of the filter as a share of the Nyquist frequency of the detector, in (0, 1].
        ramp: `spatial` keeps values (default), `half-bin-shifted` is ODL's, for comparison with published figures,
            `sampled` is the plain discrete ramp.
        method: `nonuniform` (fast, default) or `linear` (reference).
        threads: threads to compute with, at most the cores at hand; all of them by default.

    Returns:
        Image of shape `geometry.image_shape`, or a stack of those, float32, in the units of the projected image. Not
        clipped: values of air scatter below zero.

    Raises:
        ValueError: the sinogram does not fit, holds NaN or infinite values, or an option is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    values = checked_sinogram(sinogram, geometry)
    workers = resolve_threads(threads)
    filtered = filter_projections(
        values,
        geometry.detector_pitch,
        filter_name=filter_name,
        frequency_scaling=frequency_scaling,
        ramp=ramp,
        threads=workers,
    )
    stack = filtered.reshape(-1, *geometry.sinogram_shape)
    images = np.empty((len(stack), *geometry.image_shape), dtype=np.float32)
    for index, projections in enumerate(stack):
        if method == "nonuniform":
            images[index] = nonuniform_back_projector(geometry, frequency_scaling, workers)(projections)
        else:
            images[index] = back_project_linear(projections, geometry, threads=workers)
    return images.reshape(*values.shape[:-2], *geometry.image_shape)
