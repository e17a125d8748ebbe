"""Statistics over pictures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from services.security.caption_attack.reporting.statistics import (
    compare_corpora,
    median_queries,
    paired_difference,
    sentence_metrics,
    success_curve,
    success_rate,
)

CAPTIONS = ["a dog runs on grass", "two men play football", "a child jumps into blue water"]
REFERENCES = [
    ["a dog runs over the grass", "a brown dog on grass"],
    ["two men play soccer", "men with a ball"],
    ["a child jumps into the water", "a boy swims"],
]


def test_a_paired_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 1, 80), rng.normal(0.7, 1, 80)
    found = paired_difference(list(first), list(second), seed=1)
    expected = bootstrap(
        (first - second,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.mean == pytest.approx((first - second).mean())
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.02)
    assert found == paired_difference(list(first), list(second), seed=1)


def test_pairs_are_compared_and_not_groups() -> None:
    # Pictures differ by far more than arms do: only pairs show it.
    pictures = np.random.default_rng(0).normal(0, 100, 50)
    found = paired_difference(list(pictures + 1), list(pictures), resamples=500)
    assert found.low == pytest.approx(1)
    assert found.is_certain


def test_an_interval_around_nothing_is_not_certain() -> None:
    assert not paired_difference([1.0, -1.0, 1.0, -1.0], [0.0] * 4, resamples=500).is_certain
    single = paired_difference([2.0], [1.0])
    assert (single.mean, single.low, single.high, single.is_certain) == (1.0, None, None, False)


def test_many_pictures_are_drawn_in_blocks() -> None:
    values = np.random.default_rng(3).normal(size=30_000)
    found = paired_difference(list(values), [0.0] * 30_000, resamples=100)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [1.0, 2.0]), ([np.nan], [0.0])])
def test_what_is_no_pairs_is_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|shape"):
        paired_difference(first, second)


def test_success_has_a_wilson_interval() -> None:
    # Newcombe 1998, table I: 15 of 148.
    rate = success_rate([7] * 15 + [None] * 133)
    assert [rate.low, rate.high] == pytest.approx([0.0624, 0.1605], abs=5e-5)
    assert (rate.successes, rate.runs) == (15, 148)
    three_seeds = success_rate(([7] * 15 + [None] * 133) * 3, pictures=148)
    assert (three_seeds.low, three_seeds.high, three_seeds.runs) == (rate.low, rate.high, 444)
    assert success_rate([None]).low == 0
    with pytest.raises(ValueError, match="picture"):
        success_rate([])


def test_the_median_counts_pictures_that_never_succeed() -> None:
    both = median_queries([10, 30, None, 20, None])
    assert (both.of_successes, both.of_all) == (20, 30)
    assert median_queries([10, None]).of_all is None
    assert median_queries([10, None, None]).of_successes == 10
    assert median_queries([None]).of_successes is None


def test_success_grows_with_queries() -> None:
    assert success_curve([10, 30, None, 20], [0, 9, 10, 20, 29, 30, 500]) == [0, 0, 0.25, 0.5, 0.5, 0.75, 0.75]


def test_captions_are_compared_before_and_after() -> None:
    after = ["a cat sleeps", "two men play football", "..."]
    changes = compare_corpora(CAPTIONS, after, REFERENCES)
    assert changes.keys() == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D"}
    each = sentence_metrics(CAPTIONS, REFERENCES), sentence_metrics(after, REFERENCES)
    for name, change in changes.items():
        assert change.after < change.before
        assert change.drop.mean == pytest.approx((each[0][name] - each[1][name]).mean())
        assert each[0][name][1] == each[1][name][1]
    assert all(abs(change.drop.mean) < 1e-12 for change in compare_corpora(CAPTIONS, CAPTIONS, REFERENCES).values())
