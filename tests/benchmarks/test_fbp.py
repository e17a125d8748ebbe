"""Filtered back-projection, 1000 angles x 513 bins to 362 x 362 pixels, beside scikit-image, ASTRA and a plain loop.

All candidates take turns in each round, and ratios are medians over rounds of paired times, so that other load on the
machine falls on all alike. The table printed at the end is the one of the README; `--benchmark-json=FILE` keeps it with
all figures under `extra_info`. scikit-image and ASTRA's CPU code compute on one thread, whatever the machine.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from typing import Any

import finufft
import numba
import numpy as np
import pytest
import scipy.fft
from skimage.transform import iradon

from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.filters import filter_projections
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB
from services.medical.low_dose_ct.reconstruction.nonuniform import TOLERANCE, UPSAMPLING
from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from services.medical.low_dose_ct.scanning.simulation import prepare_slice, simulate_low_dose
from tests.benchmarks.reporting import ROUNDS, show

Array = np.ndarray[Any, Any]
Candidate = Callable[[], Array]

OURS = "Facet, 2 threads"


@pytest.fixture(scope="module")
def sinogram() -> Array:
    """A noisy low-dose scan of a chest phantom, (1000, 513)."""
    random = np.random.default_rng(0)
    return simulate_low_dose(prepare_slice(chest_phantom(random), random=random), random=random)


@numba.njit(parallel=True, fastmath=True)
def plain_loop(filtered: Array, cosines: Array, sines: Array, centre: float, image: Array) -> None:
    """What one writes first: every pixel walks over all angles and interpolates."""
    rows, columns = image.shape
    for i in numba.prange(rows):
        for j in range(columns):
            total = 0.0
            for k in range(filtered.shape[0]):
                t = (i - (rows - 1) / 2) * cosines[k] + (j - (columns - 1) / 2) * sines[k] + centre
                index = int(t)
                if 0 <= index < filtered.shape[1] - 1:
                    total += filtered[k, index] + (t - index) * (filtered[k, index + 1] - filtered[k, index])
            image[i, j] = total * math.pi / filtered.shape[0]


def plain_loop_candidate(sinogram: Array) -> Candidate:
    ratio = LODOPAB.pixel_size / LODOPAB.detector_pitch
    cosines, sines = np.cos(LODOPAB.angles_rad) * ratio, np.sin(LODOPAB.angles_rad) * ratio

    def run() -> Array:
        filtered = filter_projections(
            sinogram, LODOPAB.detector_pitch, filter_name="hann", frequency_scaling=1.0, ramp="spatial", threads=2
        )
        image = np.empty(LODOPAB.image_shape, dtype=np.float32)
        plain_loop(filtered, cosines, sines, (LODOPAB.detectors - 1) / 2, image)
        return image

    return run


def scikit_image_candidate(sinogram: Array) -> Candidate:
    columns = np.ascontiguousarray(sinogram.T)
    theta = np.rad2deg(LODOPAB.angles_rad) - 90
    return lambda: iradon(columns, theta=theta, output_size=362, filter_name="hann", circle=False)


def astra_candidate(sinogram: Array) -> Candidate:
    import astra

    half = LODOPAB.image_width / 2
    volume = astra.create_vol_geom(362, 362, -half, half, -half, half)
    angles = LODOPAB.angles_rad - math.pi / 2
    scan = astra.create_proj_geom("parallel", LODOPAB.detector_pitch, LODOPAB.detectors, angles)
    settings = astra.astra_dict("FBP")
    settings["ProjectorId"] = astra.create_projector("linear", scan, volume)
    settings["ProjectionDataId"] = astra.data2d.create("-sino", scan, sinogram)
    settings["ReconstructionDataId"] = astra.data2d.create("-vol", volume)
    settings["option"] = {"FilterType": "hann"}

    def run() -> Array:
        algorithm = astra.algorithm.create(settings)
        astra.algorithm.run(algorithm)
        astra.algorithm.delete(algorithm)
        image: Array = astra.data2d.get(settings["ReconstructionDataId"])
        return image

    return run


def candidates(sinogram: Array) -> dict[str, Candidate]:
    found: dict[str, Candidate] = {
        OURS: lambda: filtered_back_projection(sinogram, threads=2),
        "Facet, 1 thread": lambda: filtered_back_projection(sinogram, threads=1),
        "Facet, linear (reference), 2 threads": lambda: filtered_back_projection(sinogram, method="linear", threads=2),
        "plain numba loop, prange": plain_loop_candidate(sinogram),
        "scikit-image iradon": scikit_image_candidate(sinogram),
    }
    if importlib.util.find_spec("astra") is not None:
        found["ASTRA FBP, CPU"] = astra_candidate(sinogram)
    return found


def measure(runs: dict[str, Candidate]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return wall and processor seconds of each candidate and round, after one round of warm-up."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(-1, ROUNDS):
        for name, run in runs.items():
            before, used = time.perf_counter(), time.process_time()
            run()
            if round_number >= 0:
                wall[name].append(time.perf_counter() - before)
                processor[name].append(time.process_time() - used)
    return {k: np.array(v) for k, v in wall.items()}, {k: np.array(v) for k, v in processor.items()}


def correlation(image: Array, reference: Array) -> float:
    """Return the correlation inside the circle that every candidate reconstructs."""
    axis = np.linspace(-1, 1, 362)
    inside = np.hypot(axis[:, None], axis[None, :]) < 0.95
    return float(np.corrcoef(image[inside], reference[inside])[0, 1])


def test_fbp_beside_peers(benchmark: Any, sinogram: Array, capsys: pytest.CaptureFixture[str]) -> None:
    runs = candidates(sinogram)
    reference = runs["Facet, linear (reference), 2 threads"]()
    agreement = {name: correlation(run(), reference) for name, run in runs.items()}
    assert min(agreement.values()) > 0.97, agreement
    wall, processor = measure(runs)
    rows = [
        {
            "candidate": name,
            "median ms": float(np.median(wall[name])) * 1e3,
            "fastest ms": float(wall[name].min()) * 1e3,
            "processor ms": float(np.median(processor[name])) * 1e3,
            "times Facet": float(np.median(wall[name] / wall[OURS])),
            "correlation with the linear method": agreement[name],
        }
        for name in runs
    ]
    benchmark.extra_info["rows"] = rows
    benchmark.pedantic(runs[OURS], rounds=ROUNDS, warmup_rounds=1)
    show(capsys, "FBP 1000 x 513 to 362 x 362, Hann", rows)
    if "ASTRA FBP, CPU" not in runs:
        pytest.skip("measured without ASTRA: astra-toolbox is not installed")


def test_what_bounds_fbp(benchmark: Any, sinogram: Array, capsys: pytest.CaptureFixture[str]) -> None:
    """Split one thread's time into filter, transform to points, spreading onto the fine grid, and its FFT."""
    period = scipy.fft.next_fast_len(LODOPAB.detectors)
    turns = 2 * math.pi * LODOPAB.pixel_size / LODOPAB.detector_pitch * np.arange(period // 2 + 1) / period
    x, y = (np.outer(f(LODOPAB.angles_rad), turns).ravel().astype(np.float32) for f in (np.cos, np.sin))
    options = {"eps": TOLERANCE, "isign": 1, "dtype": "complex64", "nthreads": 1, "upsampfac": UPSAMPLING}
    whole, single = (finufft.Plan(1, LODOPAB.image_shape, **options) for _ in range(2))
    whole.setpts(x, y)
    single.setpts(x[:1], y[:1])
    strengths = np.ones(x.size, dtype=np.complex64)

    def filtering() -> Array:
        return filter_projections(
            sinogram, LODOPAB.detector_pitch, filter_name="hann", frequency_scaling=1.0, ramp="spatial", threads=1
        )

    filtered = filtering()
    runs: dict[str, Candidate] = {
        "all, 1 thread": lambda: filtered_back_projection(sinogram, threads=1),
        "filter (two real FFTs of 1080 per angle)": filtering,
        "spectrum of filtered projections": lambda: np.asarray(scipy.fft.rfft(filtered, period)),
        "non-uniform transform": lambda: np.asarray(whole.execute(strengths)),
        "of that: FFT of the fine grid": lambda: np.asarray(single.execute(strengths[:1])),
    }
    _, processor = measure(runs)
    total = processor["all, 1 thread"]
    rows = [
        {"part": name, "processor ms": float(np.median(spent)) * 1e3, "share": float(np.median(spent / total))}
        for name, spent in processor.items()
    ]
    benchmark.extra_info["rows"] = rows
    benchmark.pedantic(runs["all, 1 thread"], rounds=ROUNDS, warmup_rounds=1)
    show(capsys, "Where the time goes", rows)
