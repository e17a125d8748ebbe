from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from services.uncertainty.conformal.methods.randomness import Purpose, philox, uniforms


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    """The vectors for philox4x32, ten rounds, that the authors publish with Random123."""
    first, second, third, fourth = (np.array([word], np.uint64) for word in counter)
    assert tuple(int(word[0]) for word in philox((first, second, third, fourth), key)) == expected


def test_a_number_belongs_to_its_item() -> None:
    everything = uniforms(7, np.arange(1000), Purpose.PREDICTION)
    order = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(uniforms(7, order, Purpose.PREDICTION), everything[order])
    assert uniforms(7, 2**40, Purpose.PREDICTION) != uniforms(7, 0, Purpose.PREDICTION)
    for other in (uniforms(8, np.arange(1000), Purpose.PREDICTION), uniforms(7, np.arange(1000), Purpose.CALIBRATION)):
        assert abs(np.corrcoef(everything, other)[0, 1]) < 0.1
        assert not (everything == other).any()


def test_numbers_are_uniform() -> None:
    numbers = uniforms(2**64 - 1, np.arange(100_000), Purpose.SMOOTHING)
    assert stats.kstest(numbers, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.01
    assert 0 <= numbers.min() < numbers.max() < 1


def test_no_global_generator_is_touched() -> None:
    np.random.seed(3)  # noqa: NPY002
    uniforms(1, np.arange(10), Purpose.CALIBRATION)
    assert np.random.random() == np.random.RandomState(3).random()  # noqa: NPY002


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_outside_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        uniforms(seed, np.arange(2), Purpose.CALIBRATION)


@pytest.mark.parametrize("items", [[-1], [0.5]])
def test_bad_items_are_refused(items: list[float]) -> None:
    with pytest.raises(ValueError, match="items"):
        uniforms(0, items, Purpose.CALIBRATION)
