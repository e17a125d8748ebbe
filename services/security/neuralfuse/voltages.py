"""Supply voltage of a weight memory, in units of Vmin, and what goes with it: bit error rate, energy of a read.

Vmin is the lowest voltage at which a memory has no bit errors. Below it their number grows exponentially (NeuralFuse,
arXiv:2306.16869v3, section 3.1 and figure 2, after Chandramoorthy et al. 2019, HPCA, doi:10.1109/HPCA.2019.00034). In
words and numbers two things are published of the 14 nm memory of 512 x 64 bits that the figure shows: at 0.83 Vmin 1 %
of its cells fail, and a read takes about 30 % less energy. The rest of the figure is a curve without a table, so what
is used between is a choice:

- log10 of the rate is linear in the voltage. One end is 1 % at the voltage whose square is 0.694 (0.833 Vmin), the
  ratio that the paper's tables of savings imply. The other is Vmin: there one cell of the 32,768 is taken to fail, the
  least that such a memory can show. NOT VERIFIED against the measured curve.
- a read's energy goes with the square of the voltage, which at 0.83 gives the 31 % that are published. NOT VERIFIED at
  other voltages: it was measured at a constant frequency, and leakage is not in it.
- the range ends at 0.82 Vmin, 1.6 %: the paper goes to 1.5 %, and its code names seven measured rates from 0.0013 % to
  1.2 %, without their voltages.
"""

from __future__ import annotations

import math
from typing import Final

from services.security.neuralfuse.energy import LOW_ENERGY_RATIO

LOWEST: Final = 0.82
"""Least voltage that the model answers for, in units of Vmin."""
HIGHEST: Final = 1.0
"""Vmin itself; above it nothing fails, and energy is not what the paper compares with."""

ANCHOR_RATE: Final = 0.01
ANCHOR_VOLTAGE: Final = math.sqrt(LOW_ENERGY_RATIO)
RATE_AT_VMIN: Final = 1 / (512 * 64)

_DECADES_PER_VMIN: Final = math.log10(ANCHOR_RATE / RATE_AT_VMIN) / (HIGHEST - ANCHOR_VOLTAGE)


def rate_at(voltage: float) -> float:
    """Share of cells that fail at a voltage.

    Args:
        voltage: in units of Vmin, from `LOWEST` to `HIGHEST`.

    Raises:
        ValueError: outside of that range.
    """
    if not LOWEST <= voltage <= HIGHEST:
        raise ValueError(f"a voltage of {voltage} Vmin is not between {LOWEST} and {HIGHEST}")
    return RATE_AT_VMIN * math.pow(10.0, _DECADES_PER_VMIN * (HIGHEST - voltage))


def voltage_at(rate: float) -> float | None:
    """The voltage, in units of Vmin, at which this share of cells fails.

    Returns:
        None where the model has none: fewer cells than fail at Vmin, or more than at the end of its range.
    """
    if rate <= 0:
        return None
    voltage = HIGHEST - math.log10(rate / RATE_AT_VMIN) / _DECADES_PER_VMIN
    return voltage if LOWEST <= voltage <= HIGHEST else None


def energy_ratio_at(voltage: float) -> float:
    """Energy of one read at a voltage (in units of Vmin), over that at Vmin: V^2, which is 0.694 where 1 % fail."""
    return voltage**2
