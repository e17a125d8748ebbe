from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.medical.low_dose_ct.reconstruction.loops import add_interpolated


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bins=st.integers(2, 40),
    count=st.integers(1, 60),
    first=st.floats(-50, 50),
    step=st.floats(-3, 3),
)
def test_equals_numpy_interp(seed: int, bins: int, count: int, first: float, step: float) -> None:
    samples = np.random.default_rng(seed).standard_normal(bins).astype(np.float32)
    samples[0] = samples[-1] = 0
    target = np.zeros(count, dtype=np.float32)
    add_interpolated(target, samples, first, step)
    expected = np.interp(first + step * np.arange(count), np.arange(bins), samples, left=0, right=0)
    np.testing.assert_allclose(target, expected, atol=2e-5)
