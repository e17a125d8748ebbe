"""The noise estimate beside noise that is known: of simulated scans the deviation from the same scan without noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from services.medical.low_dose_ct.denoising.noise import equivalent_noise
from services.medical.low_dose_ct.images.attenuation import MU_MAX, attenuation_to_hu, hu_to_attenuation
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.filters import FilterName
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB
from services.medical.low_dose_ct.reconstruction.projector import forward_project
from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from services.medical.low_dose_ct.scanning.simulation import CROP, apply_photon_noise

HANN: tuple[FilterName, float] = ("hann", 1.0)
KERNELS: list[tuple[FilterName, float]] = [HANN, ("hann", 25 / 39), ("cosine", 1.0), ("ram-lak", 1.0)]


@lru_cache
def truth() -> NDArray[np.float32]:
    return hu_to_attenuation(chest_phantom(np.random.default_rng(11))[CROP:-CROP, CROP:-CROP])


@lru_cache
def line_integrals() -> NDArray[np.float32]:
    return forward_project(truth(), LODOPAB) * np.float32(MU_MAX)


def reconstruct(photons: int | None, kernel: tuple[FilterName, float]) -> NDArray[np.float32]:
    scan = line_integrals()
    if photons is not None:
        scan = apply_photon_noise(scan, photons=photons, random=np.random.default_rng(photons))
    return filtered_back_projection(scan / np.float32(MU_MAX), filter_name=kernel[0], frequency_scaling=kernel[1])


def known_noise(photons: int) -> float:
    """Deviation in soft tissue that a scan has after the tuned kernel, HU."""
    hu = attenuation_to_hu(truth())
    noise = attenuation_to_hu(reconstruct(photons, HANN)) - attenuation_to_hu(reconstruct(None, HANN))
    return float(noise[(hu > -80) & (hu < 180)].std())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("photons", [800, 4096])
def test_noise_of_a_scan_is_found_whatever_its_kernel(photons: int, kernel: tuple[FilterName, float]) -> None:
    assert equivalent_noise(reconstruct(photons, kernel)) == pytest.approx(known_noise(photons), rel=0.3)


def test_sharp_kernels_alone_are_no_noise() -> None:
    """The deviation of a pixel is three times as large after Ram-Lak; the dose is the same."""
    smooth, sharp = (equivalent_noise(reconstruct(4096, kernel)) for kernel in (("hann", 25 / 39), ("ram-lak", 1.0)))
    assert 0.6 < sharp / smooth < 1.6


def test_noise_falls_with_the_dose() -> None:
    found = [equivalent_noise(reconstruct(photons, HANN)) for photons in (500, 1000, 4096, 16_384, 65_536)]
    assert found == sorted(found, reverse=True)
    assert found[0] / found[2] == pytest.approx((4096 / 500) ** 0.5, rel=0.25)


@pytest.mark.parametrize("deviation", [5.0, 80.0])
def test_estimate_scales_with_the_noise(deviation: float) -> None:
    noise = np.random.default_rng(2).normal(0, 1, (300, 280))
    once, more = (equivalent_noise(hu_to_attenuation(40 + scale * noise, clip=False)) for scale in (1.0, deviation))
    assert more == pytest.approx(deviation * once, rel=0.02)


def test_structure_is_no_noise() -> None:
    assert equivalent_noise(truth()) < 10
    rows, columns = np.mgrid[:300, :300] - 150.0
    discs = np.where(np.hypot(rows, columns) < 100, 40.0, -1000.0) + np.where(np.hypot(rows, columns) < 30, 900.0, 0)
    assert equivalent_noise(hu_to_attenuation(discs)) == 0


@pytest.mark.parametrize("value", [-1024.0, -700.0, 40.0, 2000.0])
def test_constant_images_have_no_noise(value: float) -> None:
    assert equivalent_noise(hu_to_attenuation(np.full((16, 9), value), clip=False)) == 0


def test_images_without_soft_tissue_are_judged_by_what_there_is() -> None:
    noise = np.random.default_rng(3).normal(0, 60, (200, 200))
    lung, air = (equivalent_noise(hu_to_attenuation(value + noise, clip=False)) for value in (-700.0, 0.0))
    assert lung == pytest.approx(air, rel=0.05)


def test_large_images_are_sampled_evenly() -> None:
    noise = np.random.default_rng(4).normal(40, 60, (1700, 1600))
    large = equivalent_noise(hu_to_attenuation(noise, clip=False))
    assert large == pytest.approx(equivalent_noise(hu_to_attenuation(noise[:500, :500], clip=False)), rel=0.03)
    noise[:600, :600] = 40  # a corner of nine squares
    assert equivalent_noise(hu_to_attenuation(noise, clip=False)) > 0.7 * large
