"""Back-projection by a non-uniform fast Fourier transform: the fast method.

By the projection-slice theorem the spectrum of each filtered projection is a line of the spectrum of the image. Summing
these lines on the pixel grid is a non-uniform transform of type 1 (finufft), O(points + pixels log pixels) in place of
O(angles * pixels). Projections are real, so half of their frequencies suffices, and those that the filter cuts off are
left out. Between bins this interpolates by the band-limited function, weighted by sinc^2, the transfer function of
linear interpolation: what the linear method has besides are repetitions of the spectrum beyond the Nyquist frequency.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache

import finufft
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from services.medical.low_dose_ct.compilation import share_range
from services.medical.low_dose_ct.geometry import ParallelBeam

TOLERANCE = 1e-4
"""Relative accuracy asked of the non-uniform transform."""

UPSAMPLING = 1.25
"""Fine grid per image pixel: the smaller of finufft's two usual choices, since spreading is cheap at this tolerance."""


class _Share:
    """The angles that one thread adds up: its points, and the factor of each point.

    Args:
        geometry: the scan.
        angles: the angles of this share, radians.
        period: length of the transform of a filtered projection.
        kept: frequencies taken of each projection, from zero.
    """

    def __init__(self, geometry: ParallelBeam, angles: NDArray[np.float64], *, period: int, kept: int) -> None:
        self._period = period
        self._kept = kept
        cycles = np.arange(kept) / period
        turns = 2 * math.pi * geometry.pixel_size / geometry.detector_pitch * cycles
        x, y = np.outer(np.cos(angles), turns), np.outer(np.sin(angles), turns)
        self._factors = self._point_factors(geometry, cycles, x, y)
        # One thread per plan: threads are ours, as OpenMP's spin on a busy machine and hang after a fork.
        self._plan = finufft.Plan(
            1, geometry.image_shape, eps=TOLERANCE, isign=1, dtype="complex64", nthreads=1, upsampfac=UPSAMPLING
        )
        self._plan.setpts(x.ravel().astype(np.float32), y.ravel().astype(np.float32))

    def _point_factors(
        self, geometry: ParallelBeam, cycles: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.complex64]:
        """Gather in one factor per point: scale, weight of the half spectrum, sinc^2, phases of first bin and pixel."""
        weight = 2 * np.sinc(cycles) ** 2
        weight[0] = 1.0
        if 2 * (self._kept - 1) == self._period:
            weight[-1] /= 2
        first_bin = 2 * math.pi * cycles * (geometry.detectors - 1) / 2
        # The transform counts pixels from a whole one; an even number of pixels has its centre between two.
        rows, columns = geometry.image_shape
        phase = first_bin + x * (0.5 * (rows % 2 == 0)) + y * (0.5 * (columns % 2 == 0))
        scale = math.pi / geometry.angles / self._period
        factors: NDArray[np.complex64] = (scale * weight * np.exp(1j * phase)).astype(np.complex64)
        return factors

    def image(self, filtered: NDArray[np.float32]) -> NDArray[np.float32]:
        """Back-project the filtered projections of this share, (angles, detectors)."""
        spectrum = scipy.fft.rfft(filtered, self._period)[:, : self._kept]
        summed: NDArray[np.float32] = self._plan.execute(np.multiply(spectrum, self._factors).ravel()).real
        return summed


class NonuniformBackProjector:
    """A back-projector that keeps its plans for one geometry, cut-off and thread count.

    Calls from several threads are served one after the other: a plan owns its work space.

    Args:
        geometry: the scan.
        cutoff: share of the Nyquist frequency beyond which the filter is zero, (0, 1].
        threads: threads to compute with; each takes its share of the angles.
    """

    def __init__(self, geometry: ParallelBeam, *, cutoff: float = 1.0, threads: int = 1) -> None:
        self._geometry = geometry
        self._threads = min(threads, geometry.angles)
        period = scipy.fft.next_fast_len(geometry.detectors)
        kept = min(period // 2 + 1, math.ceil(cutoff * period / 2) + 1)
        self._bounds = [geometry.angles * share // self._threads for share in range(self._threads + 1)]
        angles = geometry.angles_rad
        self._shares = [
            _Share(geometry, angles[self._angles_of(index)], period=period, kept=kept) for index in range(self._threads)
        ]
        self._lock = threading.Lock()

    def _angles_of(self, index: int) -> slice:
        return slice(self._bounds[index], self._bounds[index + 1])

    def __call__(self, filtered: NDArray[np.float32]) -> NDArray[np.float32]:
        """Back-project filtered projections (angles, detectors) onto the image, float32."""
        parts = np.empty((self._threads, *self._geometry.image_shape), dtype=np.float32)

        def work(first: int, beyond: int) -> None:
            for index in range(first, beyond):
                parts[index] = self._shares[index].image(filtered[self._angles_of(index)])

        with self._lock:
            share_range(self._threads, self._threads, work)
        image: NDArray[np.float32] = parts.sum(axis=0)
        return image


@lru_cache(maxsize=8)
def nonuniform_back_projector(geometry: ParallelBeam, cutoff: float, threads: int) -> NonuniformBackProjector:
    """Return the back-projector of a geometry, made once and kept."""
    return NonuniformBackProjector(geometry, cutoff=cutoff, threads=threads)
