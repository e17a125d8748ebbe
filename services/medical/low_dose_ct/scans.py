"""Simulated scans for the HTTP route: which slice is scanned, and how the sinogram is answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.answers import describe_geometry
from services.medical.low_dose_ct.images.attenuation import MU_MAX, hu_to_attenuation
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB, ParallelBeam
from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from services.medical.low_dose_ct.scanning.simulation import (
    CROP,
    FULL_SLICE,
    MIN_PHOTON_COUNT,
    apply_photon_noise,
    project_attenuation,
)
from services.medical.low_dose_ct.schemas import SimulationAnswer, SimulationOptions
from shared.http.negotiation import NPY, PNG
from shared.imaging.arrays import encode_npy
from shared.imaging.pictures import encode_png
from shared.problems import FieldError, UnprocessableContent, field_problem
from shared.telemetry.timing import timed

_LARGEST_SIDE = 1000

SCAN_COST = LODOPAB.angles * LODOPAB.detectors + 1000 * 1000
"""Pixels that any scan holds in memory: the sinogram, and the slice upsampled for it."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated scan.

    Attributes:
        line_integrals: post-log values -ln(N / photons), float32 (angles, detectors).
        geometry: the scanner.
    """

    line_integrals: NDArray[np.float32]
    geometry: ParallelBeam

    def sinogram(self, options: SimulationOptions) -> NDArray[np.float32]:
        """The scan in the unit that was asked for."""
        if options.sinogram_unit == "line-integral":
            return self.line_integrals
        return self.line_integrals / np.float32(MU_MAX)

    def answer(self, options: SimulationOptions) -> SimulationAnswer:
        """The JSON answer."""
        sinogram = self.sinogram(options)
        starved = self.line_integrals >= -np.log(MIN_PHOTON_COUNT / options.photons) - 1e-4
        return SimulationAnswer(
            shape=self.geometry.sinogram_shape,
            geometry=describe_geometry(self.geometry),
            photons=options.photons,
            seed=options.seed,
            noise=options.noise,
            sinogram_unit=options.sinogram_unit,
            minimum=float(sinogram.min()),
            maximum=float(sinogram.max()),
            starved_fraction=float(starved.mean()) if options.noise else 0.0,
        )

    def encode(self, media_type: str, options: SimulationOptions) -> bytes:
        """The sinogram as NPY, or as a PNG stretched between its extremes."""
        sinogram = self.sinogram(options)
        if media_type == NPY:
            return encode_npy(sinogram)
        if media_type != PNG:
            raise ValueError(f"cannot encode {media_type}")
        span = max(float(np.ptp(sinogram)), 1e-12)
        return encode_png(np.rint((sinogram - sinogram.min()) / span * 255).astype(np.uint8))


def _middle(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle 362x362 of a slice of 512x512: the largest square inside the field of view, as LoDoPaB-CT cuts it."""
    middle: NDArray[np.float32] = hu[CROP:-CROP, CROP:-CROP]
    return middle


def _scanned_slice(posted: NDArray[np.float32] | None, options: SimulationOptions) -> NDArray[np.float32]:
    """The slice to scan, in Hounsfield units."""
    if posted is None:
        if options.phantom is None:
            detail = "Post a slice as `file`, or ask for phantom=chest."
            raise UnprocessableContent(detail, errors=[FieldError(pointer="/body/file", detail=detail)])
        return _middle(chest_phantom(np.random.default_rng(options.seed)))
    if options.phantom is not None:
        raise field_problem("/body/phantom", "There is a file as well. Send one of the two.")
    if posted.shape == FULL_SLICE:
        return _middle(posted)
    rows, columns = posted.shape
    if rows != columns or rows > _LARGEST_SIDE:
        raise field_problem(
            "/body/file",
            f"The slice is {rows}x{columns}; a scan is simulated of square slices of at most {_LARGEST_SIDE} a side.",
        )
    return posted


def simulate(
    posted: NDArray[np.float32] | None, options: SimulationOptions, *, threads: int | None = None
) -> Simulation:
    """Scan a slice, or the phantom, with LoDoPaB-CT's physics.

    Args:
        posted: the slice in Hounsfield units, square; 512x512 is cut to its middle 362x362.
        options: dose, seed, phantom.
        threads: threads of the projector.

    Raises:
        UnprocessableContent: nothing to scan, two things to scan, or a slice that is not square.
    """
    with timed("infer"):
        hu = _scanned_slice(posted, options)
        geometry = replace(LODOPAB, image_shape=(hu.shape[0], hu.shape[1]))
        integrals = project_attenuation(hu_to_attenuation(hu), geometry, threads=threads) * np.float32(MU_MAX)
        if options.noise:
            random = np.random.default_rng(options.seed)
            integrals = apply_photon_noise(integrals, photons=options.photons, random=random)
    return Simulation(integrals, geometry)
