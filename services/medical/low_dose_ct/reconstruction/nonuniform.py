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
import scipy
from numpy.typing import NDArray

from services.medical.low_dose_ct.reconstruction.compilation import share_range
from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam

TOLERANCE = 1e-4
"""Relative accuracy asked of the non-uniform transform."""

UPSAMPLING = 1.25
"""Fine grid per image pixel: the smaller of finufft's two usual choices, since spreading is cheap at this tolerance."""

MAX_KEPT_BINS = 2_000_000
"""Sinograms of more bins than this get a plan for one call only: a plan takes about 16 bytes per bin."""


def _points(
    geometry: ParallelBeam, angles: NDArray[np.float64], *, period: int, kept: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.complex64]]:
    """Return the places of the points, in radians per pixel along both axes, and the factor of each.

    A factor gathers the scale, the weight of the half spectrum, sinc^2, and the phases of the first bin and pixel.
    """
    cycles = np.arange(kept) / period
    turns = 2 * math.pi * geometry.pixel_size / geometry.detector_pitch * cycles
    weight = 2 * np.sinc(cycles) ** 2 * math.pi / geometry.angles / period
    weight[0] /= 2
    if 2 * (kept - 1) == period:
        weight[-1] /= 2
    first_bin = math.pi * cycles * (geometry.detectors - 1)
    # The transform counts pixels from a whole one; an even number of pixels has its centre between two.
    row_shift, column_shift = (0.5 * (count % 2 == 0) for count in geometry.image_shape)
    x, y = (np.empty((len(angles), kept), dtype=np.float32) for _ in range(2))
    factors = np.empty((len(angles), kept), dtype=np.complex64)
    for index, angle in enumerate(angles):
        along_rows, along_columns = math.cos(angle) * turns, math.sin(angle) * turns
        phase = first_bin + row_shift * along_rows + column_shift * along_columns
        x[index], y[index], factors[index] = along_rows, along_columns, weight * np.exp(1j * phase)
    return x.ravel(), y.ravel(), factors


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
        x, y, self._factors = _points(geometry, angles, period=period, kept=kept)
        # One thread per plan: threads are ours, as OpenMP's spin on a busy machine and hang after a fork.
        self._plan = finufft.Plan(
            1, geometry.image_shape, eps=TOLERANCE, isign=1, dtype="complex64", nthreads=1, upsampfac=UPSAMPLING
        )
        self._plan.setpts(x, y)

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
def _kept_back_projector(geometry: ParallelBeam, cutoff: float, threads: int) -> NonuniformBackProjector:
    return NonuniformBackProjector(geometry, cutoff=cutoff, threads=threads)


def nonuniform_back_projector(geometry: ParallelBeam, cutoff: float, threads: int) -> NonuniformBackProjector:
    """Return the back-projector of a geometry; the last eight of ordinary size are kept."""
    if geometry.angles * geometry.detectors > MAX_KEPT_BINS:
        return NonuniformBackProjector(geometry, cutoff=cutoff, threads=threads)
    return _kept_back_projector(geometry, cutoff, threads)
