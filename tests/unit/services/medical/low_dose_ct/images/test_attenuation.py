from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.medical.low_dose_ct.images.attenuation import MU_MAX, attenuation_to_hu, hu_to_attenuation


def test_constants_of_lodopab() -> None:
    assert pytest.approx(81.35858) == MU_MAX


@pytest.mark.parametrize(("hu", "x"), [(0.0, 20 / 81.35858), (-1000.0, 0.02 / 81.35858), (3071.0, 1.0)])
def test_water_air_and_maximum(hu: float, x: float) -> None:
    assert float(hu_to_attenuation(hu)) == pytest.approx(x)
    assert float(attenuation_to_hu(x)) == pytest.approx(hu, abs=1e-3)


def test_clipping_is_a_choice() -> None:
    np.testing.assert_array_equal(hu_to_attenuation([-2000.0, 4000.0]), [0.0, 1.0])
    assert float(hu_to_attenuation(-2000.0, clip=False)) < 0


@settings(deadline=None)
@given(st.floats(-1000, 3071))
def test_round_trip_is_within_float32(hu: float) -> None:
    assert float(attenuation_to_hu(hu_to_attenuation(hu))) == pytest.approx(hu, abs=1e-3)
