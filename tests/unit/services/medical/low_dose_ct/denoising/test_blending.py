"""How much of a network's answer an image gets, and that no answer lies below vacuum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.medical.low_dose_ct.denoising.blending import VACUUM, Blend, DenoiserParameters, blend_of, mix, share_of
from services.medical.low_dose_ct.denoising.noise import equivalent_noise
from services.medical.low_dose_ct.images.attenuation import MU_MAX, MU_PER_HU, attenuation_to_hu, hu_to_attenuation
from shared.problems import UnprocessableContent
from shared.runtime.cards import UploadedCard
from tests.support.tiny_models import card_of, denoiser

BOUNDS = (28.0, 40.0)
TUNED = DenoiserParameters(noise_level=0.018, blend_hu=BOUNDS)
NOISE = np.random.default_rng(5).normal(0, 1, (120, 110))


def image(deviation: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return hu_to_attenuation(40 + deviation * NOISE, clip=False).reshape(120, 110)


@given(st.floats(0, 1000), st.floats(0, 1000))
def test_share_grows_with_the_noise_and_stays_between_nothing_and_all(first: float, second: float) -> None:
    low, high = sorted((share_of(first, BOUNDS), share_of(second, BOUNDS)))
    assert 0 <= low <= high <= 1
    assert (share_of(min(first, second), BOUNDS), share_of(max(first, second), BOUNDS)) == (low, high)


@pytest.mark.parametrize(("noise", "share"), [(0, 0), (28, 0), (34, 0.5), (40, 1), (4000, 1)])
def test_share_at_the_bounds(noise: float, share: float) -> None:
    assert share_of(noise, BOUNDS) == pytest.approx(share)


def test_one_bound_is_a_step() -> None:
    assert [share_of(noise, (30, 30)) for noise in (29.0, 30, 31)] == [0, 1, 1]


def test_noise_of_the_image_decides_unless_it_is_stated() -> None:
    found = blend_of(image(20), TUNED)
    assert found.noise_hu == pytest.approx(equivalent_noise(image(20)))
    assert found.share == share_of(found.noise_hu or 0, BOUNDS)
    per_hu = MU_PER_HU / MU_MAX
    assert blend_of(image(20), TUNED, 10 * per_hu).share == 0
    assert blend_of(image(20), TUNED, 34 * per_hu).share == pytest.approx(0.5)
    assert blend_of(image(0.1), TUNED, 60 * per_hu).share == 1


def test_network_is_fed_what_it_was_trained_with() -> None:
    assert blend_of(image(20), TUNED, 0.3).level == 0.018
    ranged = TUNED.model_copy(update={"noise_range": (0.005, 0.1)})
    assert [blend_of(image(20), ranged, level).level for level in (0.3, 0.05, 0.0001)] == [0.1, 0.05, 0.005]


def test_model_without_bounds_is_fed_what_is_wanted_and_answers_whole() -> None:
    assert blend_of(image(1), DenoiserParameters(noise_level=0.25)) == Blend(level=0.25)
    assert blend_of(image(1), DenoiserParameters(), 0.125) == Blend(level=0.125)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_answers_are_mixed_in_proportion_and_never_below_vacuum(share: float) -> None:
    before, clean = image(400), image(900)
    mixed = mix(before, clean, share)
    np.testing.assert_allclose(mixed, np.maximum((1 - share) * before + share * clean, VACUUM), atol=1e-6)
    assert attenuation_to_hu(mixed).min() == pytest.approx(-1024, abs=1e-3)
    assert attenuation_to_hu(mixed).min() >= -1024


def test_image_that_needs_nothing_stays_as_it_is() -> None:
    np.testing.assert_array_equal(mix(image(20), None, 0.0), image(20))


def test_card_with_parameters_of_another_kind_is_refused_by_name() -> None:
    content = denoiser("mean")
    card = UploadedCard.model_validate(card_of(content, parameters={"blend_hu": "much", "noise_level": -1}))
    with pytest.raises(UnprocessableContent, match=r"low-dose-ct 1\.0\.0 has parameters .*noise_level, blend_hu"):
        DenoiserParameters.of(card)
