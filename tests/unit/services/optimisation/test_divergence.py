"""An optimisation goes on with numbers only."""

from __future__ import annotations

import math

import pytest

from services.optimisation.divergence import Diverged, require_finite


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_it(loss: float) -> None:
    with pytest.raises(Diverged, match="Lower the learning rate"):
        require_finite(loss)


def test_any_number_goes_on() -> None:
    for loss in (0.0, -3.0, 1e30):
        require_finite(loss)
