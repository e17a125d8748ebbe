from __future__ import annotations

import numpy as np
import pytest

from services.medical.low_dose_ct.images.metrics import psnr
from services.medical.low_dose_ct.scanning.simulation import simulate_low_dose
from services.medical.low_dose_ct.training.chest import phantom_truth
from services.medical.low_dose_ct.training.ellipses import ellipses_pairs
from services.medical.low_dose_ct.training.evaluate_chest import (
    Case,
    chest_table,
    chosen_on_validation,
    evaluate_chest,
    plain_methods,
    with_total_variation,
)
from services.medical.low_dose_ct.training.evaluate_ellipses import ellipses_table, evaluate_ellipses


@pytest.fixture(scope="module")
def case() -> Case:
    truth = phantom_truth(0)
    scan = simulate_low_dose(truth, random=np.random.default_rng(0))
    return Case(sinogram=scan, truth=truth, patient="phantom", kernel="none")


def test_phantoms_are_chests_in_attenuation() -> None:
    first, second = phantom_truth(1), phantom_truth(2)
    assert first.shape == (362, 362)
    assert first.dtype == np.float32
    assert first[0, 0] < 0.01
    assert 0.2 < float(np.median(first[first > 0.2])) < 0.3
    assert not np.array_equal(first, second)


def test_every_method_is_measured_with_paired_gains(case: Case) -> None:
    methods = {**plain_methods(), "truth plus one percent": lambda _: case.truth + np.float32(0.01)}
    result = evaluate_chest(methods, [case, case], gains=[("FBP Hann 1.0", "FBP Hann 0.641")])
    offset = result["methods"]["truth plus one percent"]
    assert offset["psnr_full_range"]["mean"] == pytest.approx(40, abs=1e-3)
    assert offset["bias_hu soft tissue"]["mean"] == pytest.approx(0.01 * 81.35858 / 0.01998, rel=1e-3)
    means = [result["methods"][name]["psnr"]["mean"] for name in ("FBP Hann 1.0", "FBP Hann 0.641")]
    assert result["psnr_gains"][0]["mean"] == pytest.approx(means[1] - means[0])
    assert "truth plus one percent" in chest_table(result)


def test_total_variation_is_chosen_by_validation_and_helps(case: Case) -> None:
    weight, enhance = chosen_on_validation(with_total_variation, (0.0001, 0.015, 10.0), [case])
    assert weight == 0.015
    assert psnr(enhance(case.sinogram), case.truth) > psnr(plain_methods()["FBP Hann 1.0"](case.sinogram), case.truth)


def test_ellipses_are_measured_beside_the_published_figures() -> None:
    result = evaluate_ellipses({"nothing": (lambda image, _: image, 0.1)}, count=3)
    assert set(result["methods"]) == {"FBP", "nothing"}
    assert "26.33" in ellipses_table(result)


def test_extra_realisations_redraw_the_noise_only() -> None:
    (pair,) = ellipses_pairs("train", 1, realisations=3)
    (benchmark,) = ellipses_pairs("train", 1)
    assert np.array_equal(pair.reconstructions[0], benchmark.reconstructions[0])
    qualities = [psnr(image, pair.truth) for image in pair.reconstructions]
    assert max(qualities) - min(qualities) < 1
    assert len({image.tobytes() for image in pair.reconstructions}) == 3
