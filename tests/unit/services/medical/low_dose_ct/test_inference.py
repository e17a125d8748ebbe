"""From images to enhanced images: what the network is given, and the noise estimate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.medical.low_dose_ct.denoising import tiling
from services.medical.low_dose_ct.denoising.blending import DEFAULT_NOISE_LEVEL, VACUUM
from services.medical.low_dose_ct.inference import Denoising, denoise, noise_estimate, reconstruct, run_parts
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.schemas import ReconstructionOptions
from shared.jobs.interrupts import JobCancelled
from shared.runtime.models.sessions import OnnxModel
from tests.support.tiny_models import release
from tests.unit.services.medical.low_dose_ct.conftest import SMALL_SCAN, sinogram

SMALL = ReconstructionOptions(angles=60, detectors=71, image_size=48)


@pytest.fixture
def brighten(tmp_path: Path) -> OnnxModel:
    """Answers the image plus the noise level that it was given."""
    return OnnxModel.open(release(tmp_path, kind="brighten", parameters={"noise_level": 0.25}), threads=1)


def test_network_sees_the_image_unclipped(brighten: OnnxModel) -> None:
    image = np.linspace(-0.5, 1.5, 81, dtype=np.float32).reshape(9, 9)
    result = denoise(image, brighten)
    np.testing.assert_array_equal(result.before, image)
    np.testing.assert_allclose(result.after, np.maximum(image + 0.25, VACUUM), rtol=1e-6)
    assert result.model is not None
    assert (result.model.version, result.noise_level) == ("1.0.0", 0.25)


def test_callers_noise_level_goes_before_that_of_the_card(brighten: OnnxModel) -> None:
    result = denoise(np.zeros((8, 8), np.float32), brighten, 0.125)
    assert result.noise_level == 0.125
    np.testing.assert_array_equal(result.after, np.float32(0.125))


def test_card_without_a_level(tmp_path: Path) -> None:
    model = OnnxModel.open(release(tmp_path, kind="brighten"), threads=1)
    assert denoise(np.zeros((8, 8), np.float32), model).noise_level == DEFAULT_NOISE_LEVEL == 25 / 255


def test_reconstruction_without_a_network_is_the_back_projection() -> None:
    result = reconstruct(sinogram(), SMALL, None)
    expected = filtered_back_projection(sinogram(), SMALL_SCAN, filter_name="hann")
    np.testing.assert_allclose(result.after, expected, atol=1e-6)
    assert result.before is result.after
    assert (result.model, result.noise_level) == (None, None)


def test_network_comes_after_the_back_projection(brighten: OnnxModel) -> None:
    result = reconstruct(sinogram(), SMALL, brighten)
    np.testing.assert_allclose(result.before, reconstruct(sinogram(), SMALL, None).after, atol=1e-6)
    np.testing.assert_allclose(result.after, np.maximum(result.before + 0.25, VACUUM), atol=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 30.0])
@pytest.mark.parametrize("shape", [(256, 256), (255, 301)])
def test_noise_estimate_of_white_noise_is_its_deviation(sigma: float, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).normal(0, sigma, shape).astype(np.float32)
    assert noise_estimate(noise) == pytest.approx(sigma, rel=0.02)


def test_noise_estimate_sees_through_structure() -> None:
    rows, columns = np.mgrid[:256, :256]
    structure = 0.3 * rows + 0.5 * columns + np.where(np.hypot(rows - 128, columns - 128) < 60, 500, 0)
    noise = np.random.default_rng(1).normal(0, 10, structure.shape)
    assert noise_estimate((structure + noise).astype(np.float32)) == pytest.approx(10, rel=0.05)
    assert noise_estimate(structure.astype(np.float32)) == 0


def test_noise_estimate_of_a_line_is_zero() -> None:
    assert noise_estimate(np.ones((1, 9), np.float32)) == 0


def test_job_can_stop_between_two_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "CORE_SIDE", 16)
    model = OnnxModel.open(release(tmp_path, kind="mean", parameters={"receptive_field": 1}), threads=1)
    plan = Denoising.plan(np.zeros((40, 16), np.float32), model.card)
    assert len(plan.parts) == 3
    begun: list[int] = []

    def pause() -> None:
        begun.append(len(begun))
        if len(begun) == 2:
            raise JobCancelled("stop")

    with pytest.raises(JobCancelled):
        run_parts(plan, model, pause=pause)
    assert len(begun) == 2
