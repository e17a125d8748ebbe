from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from services.medical.low_dose_ct.images import metrics
from services.medical.low_dose_ct.images.attenuation import MU_AIR, MU_MAX, MU_WATER
from services.medical.low_dose_ct.images.metrics import mean_hu_bias, psnr, ssim

Array = np.ndarray[Any, Any]


def pair(seed: int, shape: tuple[int, int], spread: float, noise: float) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    reference = np.cumsum(random.standard_normal(shape), axis=1) * spread
    return reference + noise * random.standard_normal(shape), reference


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(7, 40),
    columns=st.integers(7, 40),
    spread=st.floats(0.01, 10),
    noise=st.floats(0.01, 1),
    full=st.booleans(),
)
def test_equals_scikit_image(seed: int, rows: int, columns: int, spread: float, noise: float, full: bool) -> None:
    image, reference = pair(seed, (rows, columns), spread, noise)
    given_range, their_range = (1.0, 1.0) if full else (None, float(np.ptp(reference)))
    theirs = peak_signal_noise_ratio(reference, image, data_range=their_range)
    assert psnr(image, reference, data_range=given_range) == pytest.approx(theirs, abs=1e-9)
    theirs = structural_similarity(image, reference, data_range=their_range)
    assert ssim(image, reference, data_range=given_range) == pytest.approx(theirs, abs=1e-9)


def test_definitions_of_the_range_differ_by_its_logarithm() -> None:
    image, reference = pair(0, (32, 32), 0.01, 0.01)
    gain = -20 * math.log10(np.ptp(reference))
    assert psnr(image, reference, data_range=1.0) - psnr(image, reference) == pytest.approx(gain)


def test_equal_images() -> None:
    _, reference = pair(0, (16, 16), 1.0, 0.1)
    assert psnr(reference, reference) == math.inf
    assert ssim(reference, reference) == pytest.approx(1.0)
    assert mean_hu_bias(reference, reference) == 0.0


def test_bias_in_hounsfield_units() -> None:
    reference = np.full((8, 8), 0.3, dtype=np.float32)
    per_hu = (MU_WATER - MU_AIR) / 1000 / MU_MAX
    assert mean_hu_bias(reference.astype(float) + 25 * per_hu, reference.astype(float)) == pytest.approx(25.0)
    mask = np.zeros((8, 8), dtype=bool)
    mask[0, :2] = True
    image = reference.astype(float)
    image[0, 0] -= 10 * per_hu
    assert mean_hu_bias(image, reference, mask=mask) == pytest.approx(-5.0)


def test_what_cannot_be_compared_is_refused() -> None:
    reference = np.eye(8)
    with pytest.raises(ValueError, match="differ in shape"):
        psnr(np.eye(7), reference)
    with pytest.raises(ValueError, match="image holds NaN"):
        ssim(np.full((8, 8), np.nan), reference)
    with pytest.raises(ValueError, match="reference holds NaN"):
        psnr(reference, np.full((8, 8), np.inf))
    with pytest.raises(ValueError, match="reference is constant"):
        psnr(reference, np.ones((8, 8)))
    with pytest.raises(ValueError, match="data_range must be a positive"):
        ssim(reference, reference, data_range=-1.0)
    with pytest.raises(ValueError, match="at least 7 x 7"):
        ssim(np.eye(6), np.eye(6))
    with pytest.raises(ValueError, match="mask selects no pixel"):
        mean_hu_bias(reference, reference, mask=np.zeros((8, 8), dtype=bool))


@pytest.mark.parametrize("shape", [(7, 7), (61, 40), (13, 300)])
def test_strips_change_nothing(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(6)
    image, reference = (random.random(shape, dtype=np.float32) for _ in range(2))

    def figures() -> list[float]:
        return [psnr(image, reference), ssim(image, reference), mean_hu_bias(image, reference)]

    whole = figures()
    monkeypatch.setattr(metrics, "_STRIP_PIXELS", 100)
    np.testing.assert_allclose(figures(), whole, rtol=1e-9)
