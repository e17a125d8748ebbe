"""Memory cells that fail at low voltage, and what is read through them.

Two fault models: a faulty cell is stuck at a value, drawn for it (what the released code of NeuralFuse does), or it
gives the opposite of what was written (Stutz et al. 2021). Of stuck cells half hold the right value by chance, so a
rate of 1 % stuck cells flips 0.5 % of the bits.

Two layouts: `tiled` is the released code's: one bank of 8,192 rows of 16 bytes, used from its first row for every
tensor, each row's bytes repeated sixteen times, so 256 consecutive weights share sixteen bytes of faults; `iid` gives
each bit of each weight a cell of its own. Both have the same mean; tiled spreads several times more between seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.security.bit_errors.quantisation import BITS

FaultKind = Literal["stuck_at", "flip"]
Layout = Literal["tiled", "iid"]

ALL_BITS: Final = tuple(range(BITS))
"""Bit positions; 0 is the least significant, 7 the sign."""

TEST_SEEDS: Final = tuple(range(50_000, 50_010))
"""The ten chips that NeuralFuse's authors measure on; generators are trained on other ones."""

_ROWS: Final = 8192
_BYTES_PER_ROW: Final = 16
_REPEATS: Final = 16
_STUCK_AT_ONE: Final = 0.5
"""Share of stuck cells that read as 1."""


@dataclass(frozen=True, slots=True)
class FaultModel:
    """Which cells fail and how.

    Attributes:
        rate: share of faulty cells among those that may fail, in [0, 1] (the "bit error rate").
        kind: what a faulty cell does.
        layout: how cells belong to weights.
        bits: the positions that may fail.

    Raises:
        ValueError: the rate is not a share, or a position is none.
    """

    rate: float
    kind: FaultKind = "stuck_at"
    layout: Layout = "tiled"
    bits: tuple[int, ...] = ALL_BITS

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"a rate of {self.rate} is no share in [0, 1]")
        if not self.bits or not set(self.bits) <= set(ALL_BITS):
            raise ValueError(f"bits are positions from 0 to {BITS - 1}, not {self.bits}")


@dataclass(frozen=True, slots=True)
class Faults:
    """Faulty cells of consecutive weights, as bytes to combine theirs with.

    Attributes:
        ones: cells that read as 1, uint8.
        zeros: cells that read as 0, uint8.
        flips: cells that read as the opposite, uint8.
    """

    ones: NDArray[np.uint8]
    zeros: NDArray[np.uint8]
    flips: NDArray[np.uint8]

    def read(self, values: NDArray[np.int8]) -> NDArray[np.int8]:
        """What comes out of the memory for what was written: ((q AND NOT zeros) OR ones) XOR flips.

        Args:
            values: int8 of any shape, as many as there are cells for.
        """
        written = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        read = ((written & ~self.zeros) | self.ones) ^ self.flips
        return read.view(np.int8).reshape(values.shape)


def draw_faults(model: FaultModel, seed: int, count: int, *, tensor: int = 0) -> Faults:
    """Cells of one tensor of one chip.

    Args:
        model: which fail.
        seed: of the chip; in the tiled layout the map is that of the released code for this seed, bit for bit.
        count: of weights.
        tensor: its number within the network; tiled tensors share one map, whatever the number.
    """
    mask = np.uint8(sum(1 << bit for bit in model.bits))
    if model.layout == "tiled":
        faulty, stuck_at_one = _tiled_cells(model.rate, seed, count)
    else:
        faulty, stuck_at_one = _own_cells(model.rate, seed, count, tensor)
    faulty &= mask
    none = np.zeros(1, np.uint8)
    if model.kind == "flip":
        return Faults(ones=none, zeros=none, flips=faulty)
    return Faults(ones=faulty & stuck_at_one, zeros=faulty & ~stuck_at_one, flips=none)


def _tiled_cells(rate: float, seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    places, stuck = _bank(seed)
    used_rows = min(_ROWS, -(-count // (_BYTES_PER_ROW * _REPEATS)))
    faulty = np.packbits(places[:used_rows] < rate, axis=1, bitorder="little")
    ones = np.packbits(stuck[:used_rows] < _STUCK_AT_ONE, axis=1, bitorder="little")
    return _spread(faulty, count), _spread(ones, count)


def _spread(rows: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Each row's bytes sixteen times, then the rows again from the first, as far as there are weights."""
    once = np.tile(rows, (1, _REPEATS)).reshape(-1)
    return np.resize(once, count)


@lru_cache(maxsize=4)
def _bank(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Uniform draws for places and stuck values, (8192, 128) each; NumPy's legacy generator, as released."""
    columns = _BYTES_PER_ROW * BITS
    places, stuck = (np.random.RandomState(number).rand(_ROWS, columns) for number in (seed, seed + 1))
    for drawn in (places, stuck):
        drawn.setflags(write=False)
    return places, stuck


def _own_cells(rate: float, seed: int, count: int, tensor: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Faulty cells among 8 * count, drawn by the gaps between them, since few are faulty."""
    random = np.random.default_rng((seed, tensor))
    cells = count * BITS
    places = _positions(random, rate, cells)
    byte, bit = places // BITS, (np.uint8(1) << (places % BITS).astype(np.uint8))
    faulty, ones = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    np.bitwise_or.at(faulty, byte, bit)
    stuck = random.random(len(places)) < _STUCK_AT_ONE
    np.bitwise_or.at(ones, byte[stuck], bit[stuck])
    return faulty, ones


def _positions(random: np.random.Generator, rate: float, cells: int) -> NDArray[np.int64]:
    if rate <= 0:
        return np.zeros(0, np.int64)
    drawn = [np.int64(-1)]
    parts: list[NDArray[np.int64]] = []
    while drawn[-1] < cells:
        expected = max(16, int((cells - drawn[-1]) * rate * 1.1))
        places = drawn[-1] + np.cumsum(random.geometric(rate, expected))
        parts.append(places)
        drawn.append(places[-1])
    together = np.concatenate(parts)
    return together[together < cells]
