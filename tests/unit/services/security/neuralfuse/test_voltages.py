"""Voltage, rate and energy: the published anchors, the way back, and the ends of the range."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from services.security.neuralfuse.voltages import HIGHEST, LOWEST, RATE_AT_VMIN, energy_ratio_at, rate_at, voltage_at

MEASURED = (0.01212883, 0.00397706, 0.001214473, 0.00015521, 0.000126225, 4.06934e-05)
"""Rates of a real memory at operating points that the released code names without their voltages."""


def test_the_published_anchor_is_met() -> None:
    voltage = voltage_at(0.01)
    assert voltage is not None
    assert round(voltage, 2) == 0.83, "1 % at 0.83 Vmin"
    assert energy_ratio_at(voltage) == pytest.approx(0.694), "about 30 % less energy for a read"


@pytest.mark.parametrize("rate", MEASURED)
def test_rates_of_a_real_memory_have_a_voltage_and_the_way_back_gives_them_again(rate: float) -> None:
    voltage = voltage_at(rate)
    assert voltage is not None
    assert rate_at(voltage) == pytest.approx(rate)


def test_errors_grow_exponentially_below_vmin() -> None:
    rates = [rate_at(voltage) for voltage in (1.0, 0.95, 0.9, 0.85)]
    factors = [second / first for first, second in pairwise(rates)]
    assert factors == pytest.approx([factors[0]] * 3)
    assert factors[0] > 5
    assert rates[0] == RATE_AT_VMIN


@pytest.mark.parametrize("voltage", [LOWEST - 1e-6, HIGHEST + 1e-6, 0.0, -0.9, math.nan, math.inf])
def test_voltages_outside_of_the_range_are_refused(voltage: float) -> None:
    with pytest.raises(ValueError, match="between"):
        rate_at(voltage)


@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.02, 0.5])
def test_rates_outside_of_the_range_have_no_voltage(rate: float) -> None:
    assert voltage_at(rate) is None
