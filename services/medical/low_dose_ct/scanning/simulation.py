"""Low-dose scans made from normal-dose slices by the physics of LoDoPaB-CT, and the noisy scans of DIVal's "ellipses".

LoDoPaB-CT (doi 10.1038/s41597-021-00893-z): the slice is enlarged before projection, so that reconstruction does not
invert the very matrix that made the data; photon counts are Poisson-distributed before the logarithm; a count of zero
becomes 0.1; the result is divided by mu_max. An observation is thus `y = A x + noise` with x in [0, 1] and A in metres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from services.medical.low_dose_ct.images.attenuation import MU_MAX, hu_to_attenuation
from services.medical.low_dose_ct.reconstruction.geometry import ELLIPSES, LODOPAB, ParallelBeam
from services.medical.low_dose_ct.reconstruction.projector import forward_project
from services.medical.low_dose_ct.scanning.phantoms import Split, ellipses_phantoms

PHOTONS = 4096
"""Photons per detector bin before attenuation, LoDoPaB-CT."""

MIN_PHOTON_COUNT = 0.1
"""What a count of zero becomes before the logarithm."""

FULL_SLICE = (512, 512)
CROP = 75
"""Pixels cut from each side of a 512 x 512 slice: the rest is the largest square inside the field of view."""

SIMULATION_SIDE = 1000
"""Pixels per side of the enlarged slice."""

ELLIPSES_SIDE = 400
ELLIPSES_NOISE = 0.025
"""Standard deviation of the noise on "ellipses", as a share of the mean absolute projection."""

ELLIPSES_NOISE_SEEDS: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}


def prepare_slice(hu: ArrayLike, *, random: np.random.Generator) -> NDArray[np.float32]:
    """Turn a stored CT slice into a ground truth of LoDoPaB-CT.

    Args:
        hu: Hounsfield units as DICOM orders them (rows, columns), (512, 512).
        random: source of the dither of U(0, 1) HU that undoes the rounding to integers.

    Returns:
        Normalised attenuation in [0, 1], float32, (362, 362), transposed.

    Raises:
        ValueError: not 512 x 512, or NaN or infinite values.
    """
    values = np.asarray(hu, dtype=np.float64)
    if values.shape != FULL_SLICE:
        raise ValueError(f"slice must be of shape {FULL_SLICE}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("slice holds NaN or infinite values")
    cropped = values[CROP:-CROP, CROP:-CROP].T
    return hu_to_attenuation(cropped + random.uniform(0.0, 1.0, cropped.shape), clip=True)


def enlarge(image: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Enlarge an image by bilinear interpolation, as `skimage.transform.resize(order=1)` does."""
    values = np.asarray(image, dtype=np.float64)
    factors = [new / old for new, old in zip(shape, values.shape, strict=True)]
    enlarged: NDArray[np.float64] = scipy.ndimage.zoom(values, factors, order=1, mode="mirror", grid_mode=True)
    return enlarged


def simulation_shape(shape: tuple[int, int], side: int = SIMULATION_SIDE) -> tuple[int, int]:
    """Return the shape that an image is enlarged to: `side` squared, or a whole multiple for images not square."""
    if shape[0] == shape[1] and shape[0] < side:
        return (side, side)
    factor = max(2, math.ceil(side / max(shape)))
    return (shape[0] * factor, shape[1] * factor)


def project_attenuation(
    x: ArrayLike, geometry: ParallelBeam = LODOPAB, *, side: int = SIMULATION_SIDE, threads: int | None = None
) -> NDArray[np.float32]:
    """Compute the noise-free scan of a slice on an enlarged grid.

    Args:
        x: image, `geometry.image_shape`, finite.
        geometry: the scan.
        side: pixels per side of the enlarged grid.
        threads: threads to compute with; all cores by default.

    Returns:
        Line integrals (angles, detectors), float32, in units of x times the geometry's unit of length. Multiply by
        MU_MAX for physical ones.

    Raises:
        ValueError: the image does not fit the geometry, or holds NaN or infinite values.
    """
    values = np.asarray(x)
    if values.shape != geometry.image_shape:
        raise ValueError(f"image of shape {values.shape} does not fit the geometry: expected {geometry.image_shape}")
    shape = simulation_shape(geometry.image_shape, side)
    return forward_project(enlarge(values, shape), replace(geometry, image_shape=shape), threads=threads)


def apply_photon_noise(
    line_integrals_physical: ArrayLike, *, photons: float = PHOTONS, random: np.random.Generator
) -> NDArray[np.float32]:
    """Draw photon counts and take the logarithm.

    Args:
        line_integrals_physical: integrals of mu (no unit), any shape, finite.
        photons: expected photons per bin without attenuation.
        random: source of the Poisson counts.

    Returns:
        -ln(max(0.1, N) / photons) with N ~ Poisson(photons * exp(-integral)), float32, same shape.

    Raises:
        ValueError: `photons` is not a positive finite number, or NaN or infinite values.
    """
    if not math.isfinite(photons) or photons <= 0:
        raise ValueError(f"photons must be a positive finite number, got {photons!r}")
    integrals = np.asarray(line_integrals_physical, dtype=np.float64)
    if not np.isfinite(integrals).all():
        raise ValueError("line integrals hold NaN or infinite values")
    counts = random.poisson(photons * np.exp(-integrals))
    post_log: NDArray[np.float32] = -np.log(np.maximum(counts, MIN_PHOTON_COUNT) / photons).astype(np.float32)
    return post_log


def simulate_low_dose(
    x: ArrayLike,
    *,
    photons: float = PHOTONS,
    random: np.random.Generator,
    geometry: ParallelBeam = LODOPAB,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Simulate the low-dose scan of a slice, as an observation of LoDoPaB-CT.

    Args:
        x: normalised attenuation in [0, 1], `geometry.image_shape`.
        photons: expected photons per bin without attenuation.
        random: source of the Poisson counts.
        geometry: the scan, lengths in metres.
        threads: threads to compute with; all cores by default.

    Returns:
        Post-log sinogram divided by mu_max, (angles, detectors), float32: its reconstruction is in units of x.

    Raises:
        ValueError: as `project_attenuation` and `apply_photon_noise`.
    """
    integrals = project_attenuation(x, geometry, threads=threads)
    return apply_photon_noise(integrals * MU_MAX, photons=photons, random=random) / np.float32(MU_MAX)


def ellipses_pairs(
    split: Split, *, threads: int | None = None
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield the pairs of DIVal's "ellipses" benchmark for ever, in its order and with its seeds.

    Yields:
        Noisy sinogram (30, 183) in image units times pixels, and the phantom (128, 128) in [0, 1]; both float32.
    """
    random = np.random.RandomState(ELLIPSES_NOISE_SEEDS[split])
    for image in ellipses_phantoms(split):
        sinogram = project_attenuation(image, ELLIPSES, side=ELLIPSES_SIDE, threads=threads)
        deviation = ELLIPSES_NOISE * float(np.mean(np.abs(sinogram)))
        noise = random.normal(0.0, deviation, sinogram.shape)
        yield (sinogram + noise).astype(np.float32), image
