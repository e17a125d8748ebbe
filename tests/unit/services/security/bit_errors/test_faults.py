"""Faulty cells against a plain reading of the released code's rules, and the rates that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.security.bit_errors.faults import ALL_BITS, FaultKind, FaultModel, Layout, draw_faults

TEST_SEEDS = range(50_000, 50_010)
FIRST_CONVOLUTION = 64 * 3 * 9


def random_weights(count: int) -> NDArray[np.int8]:
    return np.random.default_rng(1).integers(-127, 128, count, dtype=np.int8)


def flipped(model: FaultModel, seed: int, values: NDArray[np.int8], tensor: int = 0) -> NDArray[np.bool_]:
    """Which bits are read wrongly, (count, 8), least significant first."""
    read = draw_faults(model, seed, values.size, tensor=tensor).read(values)
    bits: NDArray[np.bool_] = np.unpackbits((read ^ values).view(np.uint8)[:, None], axis=1, bitorder="little") > 0
    return bits


def read_by_loops(values: NDArray[np.int8], rate: float, seed: int) -> NDArray[np.int8]:
    """The rule weight by weight: bank of 8192 x 128 cells, row (i // 256) mod 8192, byte i mod 16, bit j at 8 k + j."""
    faulty = np.random.RandomState(seed).rand(8192, 128) < rate
    one = np.random.RandomState(seed + 1).rand(8192, 128) < 0.5
    read = []
    for index, value in enumerate(values.tolist()):
        row, byte = (index // 256) % 8192, index % 16
        pattern = value & 0xFF
        for bit in range(8):
            cell = (row, 8 * byte + bit)
            if faulty[cell]:
                pattern = pattern | (1 << bit) if one[cell] else pattern & ~(1 << bit)
        read.append(pattern - 256 if pattern > 127 else pattern)
    return np.array(read, np.int8)


@pytest.mark.parametrize("seed", [0, 50_003])
def test_tiled_cells_follow_the_released_rule_bit_for_bit(seed: int) -> None:
    values = random_weights(3000)
    read = draw_faults(FaultModel(0.05), seed, values.size).read(values)
    np.testing.assert_array_equal(read, read_by_loops(values, 0.05, seed))


def test_a_tensor_larger_than_the_bank_starts_it_again() -> None:
    bank = 8192 * 256
    values = np.zeros(bank + 512, np.int8)
    read = draw_faults(FaultModel(0.1), 7, values.size).read(values)
    np.testing.assert_array_equal(read[:512], read[bank:])


def test_256_weights_share_sixteen_bytes_of_faults() -> None:
    faults = draw_faults(FaultModel(0.5), 3, 512)
    rows = (faults.ones | faults.zeros).reshape(2, 16, 16)
    assert (rows == rows[:, :1]).all()
    assert (rows[0, 0] != rows[1, 0]).any()


@pytest.mark.parametrize("layout", ["tiled", "iid"])
@pytest.mark.parametrize(
    ("kind", "rate", "expected"), [("stuck_at", 0.01, 0.005), ("flip", 0.01, 0.01), ("stuck_at", 0.005, 0.0025)]
)
def test_a_stuck_cell_flips_half_as_often_as_its_rate(
    layout: Layout, kind: FaultKind, rate: float, expected: float
) -> None:
    values = random_weights(2**20)
    rates = [flipped(FaultModel(rate, kind, layout), seed, values).mean() for seed in TEST_SEEDS]
    assert np.mean(rates) == pytest.approx(expected, rel=0.01)


def test_tiled_cells_spread_more_between_chips_than_cells_of_their_own() -> None:
    values = random_weights(FIRST_CONVOLUTION)
    tiled, own = (
        [flipped(FaultModel(0.01, layout=layout), seed, values).mean() for seed in TEST_SEEDS]
        for layout in ("tiled", "iid")
    )
    assert np.std(tiled) > 2 * np.std(own)
    assert 0.002 < min(tiled) < max(tiled) < 0.01


def test_cells_of_their_own_are_faulty_at_every_position_alike() -> None:
    values = np.zeros(400_000, np.int8)
    by_bit = flipped(FaultModel(0.02, "flip", "iid"), 5, values).mean(axis=0)
    np.testing.assert_allclose(by_bit, 0.02, rtol=0.06)


@pytest.mark.parametrize("layout", ["tiled", "iid"])
@pytest.mark.parametrize("bit", ALL_BITS)
def test_only_the_chosen_position_fails(layout: Layout, bit: int) -> None:
    wrong = flipped(FaultModel(0.2, "flip", layout, bits=(bit,)), 5, random_weights(4096)).any(axis=0)
    assert wrong.tolist() == [position == bit for position in ALL_BITS]


def test_tensors_have_cells_of_their_own_in_the_iid_layout_only() -> None:
    values = random_weights(4096)
    own, tiled = FaultModel(0.1, layout="iid"), FaultModel(0.1)
    assert (flipped(own, 1, values, tensor=0) != flipped(own, 1, values, tensor=1)).any()
    np.testing.assert_array_equal(flipped(tiled, 1, values, tensor=0), flipped(tiled, 1, values, tensor=1))


@given(
    count=st.integers(1, 700),
    rate=st.sampled_from([0.0, 1e-5, 0.3, 1.0]),
    kind=st.sampled_from(["stuck_at", "flip"]),
    layout=st.sampled_from(["tiled", "iid"]),
    seed=st.integers(0, 2**31),
)
def test_reading_is_repeatable_and_knows_the_ends(
    count: int, rate: float, kind: FaultKind, layout: Layout, seed: int
) -> None:
    values = random_weights(count)
    model = FaultModel(rate, kind, layout)
    first, second = (draw_faults(model, seed, count).read(values) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    if rate == 0:
        np.testing.assert_array_equal(first, values)
    if rate == 1:
        # All cells faulty: all bits are opposite, or the memory holds what it always does.
        other = draw_faults(model, seed, count).read(~values)
        np.testing.assert_array_equal(first, ~values if kind == "flip" else other)


def test_values_keep_their_shape_and_are_left_as_they_were() -> None:
    values = random_weights(54).reshape(2, 3, 3, 3)
    before = values.copy()
    read = draw_faults(FaultModel(0.5), 0, values.size).read(values)
    assert read.shape == values.shape
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("rate", "bits"), [(-0.1, ALL_BITS), (1.5, ALL_BITS), (float("nan"), ALL_BITS), (0.1, ()), (0.1, (8,))]
)
def test_what_is_no_fault_model(rate: float, bits: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"share|positions"):
        FaultModel(rate, bits=bits)
