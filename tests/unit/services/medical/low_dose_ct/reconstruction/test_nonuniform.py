from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from services.medical.low_dose_ct.reconstruction import nonuniform
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB, ParallelBeam
from services.medical.low_dose_ct.reconstruction.nonuniform import NonuniformBackProjector, nonuniform_back_projector


def written_out(filtered: np.ndarray[Any, Any], geometry: ParallelBeam) -> np.ndarray[Any, Any]:
    """The same interpolation (trigonometric, weighted by sinc^2), as a plain sum in double precision."""
    period = scipy.fft.next_fast_len(geometry.detectors)
    cycles = scipy.fft.fftfreq(period)
    spectra = scipy.fft.fft(filtered.astype(np.float64), period) * np.sinc(cycles) ** 2
    x, y = np.meshgrid(geometry.pixel_positions(0), geometry.pixel_positions(1), indexing="ij")
    image = np.zeros(geometry.image_shape)
    for theta, spectrum in zip(geometry.angles_rad, spectra, strict=True):
        s = (x * math.cos(theta) + y * math.sin(theta)) / geometry.detector_pitch + (geometry.detectors - 1) / 2
        image += np.sum(spectrum * np.exp(2j * math.pi * s[..., None] * cycles), axis=-1).real / period
    return image * math.pi / geometry.angles


@given(
    angles=st.integers(1, 9),
    detectors=st.integers(1, 30),
    rows=st.integers(1, 24),
    columns=st.integers(1, 24),
    zoom=st.floats(0.3, 1.5),
    threads=st.integers(1, 3),
)
@settings(deadline=None, max_examples=40)
def test_equals_the_written_out_sum(
    angles: int, detectors: int, rows: int, columns: int, zoom: float, threads: int
) -> None:
    geometry = ParallelBeam(
        angles=angles,
        detectors=detectors,
        detector_width=detectors,
        image_shape=(rows, columns),
        image_width=columns * zoom,
    )
    filtered = np.random.default_rng(angles).standard_normal(geometry.sinogram_shape).astype(np.float32)
    expected = written_out(filtered, geometry)
    # The tolerance of the transform is relative to the norm of what it adds up.
    allowed = 2e-3 * math.pi / math.sqrt(angles) * float(np.linalg.norm(filtered))
    np.testing.assert_allclose(NonuniformBackProjector(geometry, threads=threads)(filtered), expected, atol=allowed)


def test_frequencies_that_the_filter_cuts_off_may_be_left_out() -> None:
    geometry = ParallelBeam(angles=30, detectors=91, detector_width=91.0, image_shape=(64, 64), image_width=64.0)
    spectrum = scipy.fft.rfft(np.random.default_rng(0).standard_normal(geometry.sinogram_shape))
    spectrum[:, 23:] = 0
    filtered = scipy.fft.irfft(spectrum, 91).astype(np.float32)
    full = NonuniformBackProjector(geometry)(filtered)
    cut = NonuniformBackProjector(geometry, cutoff=0.55)(filtered)
    assert np.linalg.norm(full - cut) < 0.02 * np.linalg.norm(full)


def test_calls_from_several_threads_do_not_mix() -> None:
    geometry = ParallelBeam(angles=40, detectors=91, detector_width=91.0, image_shape=(64, 64), image_width=64.0)
    back_project = NonuniformBackProjector(geometry, threads=2)
    inputs = np.random.default_rng(0).standard_normal((8, *geometry.sinogram_shape)).astype(np.float32)
    alone = [back_project(each) for each in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(back_project, inputs))
    np.testing.assert_array_equal(alone, together)


def test_tolerance_holds_on_white_noise_of_full_size() -> None:
    """The hardest input, equal power at all frequencies: within 2e-4 of a transform asked for nine digits."""
    finufft = pytest.importorskip("finufft")
    turns = 2 * math.pi * LODOPAB.pixel_size / LODOPAB.detector_pitch * np.arange(257) / 513
    angles = LODOPAB.angles_rad[::10]
    x, y = (np.outer(f(angles), turns).ravel() for f in (np.cos, np.sin))
    strengths = np.exp(2j * math.pi * np.random.default_rng(0).random(x.size))
    exact = finufft.nufft2d1(x, y, strengths, LODOPAB.image_shape, eps=1e-9, isign=1, nthreads=1)
    single = [each.astype(np.float32) for each in (x, y)]
    fast = finufft.nufft2d1(
        *single, strengths.astype(np.complex64), LODOPAB.image_shape, eps=1e-4, isign=1, nthreads=1, upsampfac=1.25
    )
    assert np.linalg.norm(fast - exact) < 2e-4 * np.linalg.norm(exact)


def test_plans_are_kept_except_for_giant_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = ParallelBeam(angles=12, detectors=31, detector_width=31.0, image_shape=(16, 16), image_width=16.0)
    assert nonuniform_back_projector(geometry, 1.0, 1) is nonuniform_back_projector(geometry, 1.0, 1)
    monkeypatch.setattr(nonuniform, "MAX_KEPT_BINS", 100)
    assert nonuniform_back_projector(geometry, 1.0, 1) is not nonuniform_back_projector(geometry, 1.0, 1)
