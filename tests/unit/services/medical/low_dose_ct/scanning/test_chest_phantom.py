from __future__ import annotations

import numpy as np
import pytest

from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom


@pytest.mark.parametrize("seed", range(5))
def test_chest_has_its_tissues_inside_the_crop(seed: int) -> None:
    hu = chest_phantom(np.random.default_rng(seed))
    assert hu.shape == (512, 512)
    assert hu.dtype == np.float32
    assert hu.min() >= -1024
    assert hu.max() <= 3071
    body = np.mean(hu > -500)
    lung = np.mean((hu > -950) & (hu < -700))
    bone = np.mean(hu > 400)
    assert 0.1 < body < 0.5
    assert 0.03 < lung < 0.3
    assert 0.0005 < bone < 0.05
    outside = hu.copy()
    outside[75:-75, 75:-75] = -1000
    assert outside.max() < -900


def test_same_state_same_chest() -> None:
    one, two, other = (chest_phantom(np.random.default_rng(seed), size=128) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        chest_phantom(np.random.default_rng(0), size=16)
