"""Back-projection by a non-uniform fast Fourier transform: the fast method.

By the projection-slice theorem the spectrum of each filtered projection is a line of the spectrum of the image. Summing
these lines on the pixel grid is a non-uniform transform of type 1 (finufft), O(points + pixels log pixels) in place of
O(angles * pixels). Projections are real, so half of their frequencies suffices, and those that the filter cuts off are
left out. Between bins this interpolates by the band-limited function, weighted by sinc^2, the transfer function of linear
interpolation: what the linear method has besides are the repetitions of the spectrum beyond the Nyquist frequency.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache

import finufft
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from services.medical.low_dose_ct.geometry import ParallelBeam

TOLERANCE = 1e-4
"""Relative accuracy asked of the non-uniform transform."""


class NonuniformBackProjector:
    """A back-projector that keeps its plan for one geometry, cut-off and thread count.

    Calls from several threads are served one after the other: a plan owns its work space.

    Args:
        geometry: the scan.
        cutoff: share of the Nyquist frequency beyond which the filter is zero, (0, 1].
        threads: threads of the transforms.
        tolerance: relative accuracy of the non-uniform transform.
    """

    def __init__(
        self,
        geometry: ParallelBeam,
        *,
        cutoff: float = 1.0,
        threads: int = 1,
        tolerance: float = TOLERANCE,
    ) -> None:
        self._geometry = geometry
        self._threads = threads
        self._period = scipy.fft.next_fast_len(geometry.detectors, real=True)
        available = self._period // 2 + 1
        self._kept = min(available, int(math.floor(cutoff * self._period / 2 + 1e-9)) + 2)
        cycles = np.arange(self._kept) / self._period
        turns = 2 * math.pi * geometry.pixel_size / geometry.detector_pitch * cycles
        angles = geometry.angles_rad
        x = np.outer(np.cos(angles), turns)
        y = np.outer(np.sin(angles), turns)
        self._factors = self._prepare_factors(cycles, x, y)
        self._plan = finufft.Plan(
            1, geometry.image_shape, n_trans=1, eps=tolerance, isign=1, dtype="complex64", nthreads=threads
        )
        self._plan.setpts(x.ravel().astype(np.float32), y.ravel().astype(np.float32))
        self._lock = threading.Lock()

    def _prepare_factors(
        self, cycles: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.complex64]:
        """Gather in one factor per point: weight of the half spectrum, scale, and the phases of bins and pixels."""
        geometry = self._geometry
        weight = np.full(self._kept, 2.0)
        weight[0] = 1.0
        if self._period % 2 == 0 and self._kept == self._period // 2 + 1:
            weight[-1] = 1.0
        weight *= np.sinc(cycles) ** 2
        centre = 2 * math.pi * cycles * (geometry.detectors - 1) / 2
        rows, columns = geometry.image_shape
        phase = centre + x * (0.5 * (rows % 2 == 0)) + y * (0.5 * (columns % 2 == 0))
        scale = math.pi / geometry.angles / self._period
        factors: NDArray[np.complex64] = (scale * weight * np.exp(1j * phase)).astype(np.complex64)
        return factors

    def __call__(self, filtered: NDArray[np.float32]) -> NDArray[np.float32]:
        """Back-project filtered projections (angles, detectors) onto the image, float32."""
        spectrum = scipy.fft.rfft(filtered, self._period, workers=self._threads)[:, : self._kept]
        strengths = np.multiply(spectrum, self._factors).ravel()
        with self._lock:
            image = self._plan.execute(strengths)
        return np.ascontiguousarray(image.real)


@lru_cache(maxsize=8)
def nonuniform_back_projector(geometry: ParallelBeam, cutoff: float, threads: int) -> NonuniformBackProjector:
    """Return the back-projector of a geometry, made once and kept."""
    return NonuniformBackProjector(geometry, cutoff=cutoff, threads=threads)
