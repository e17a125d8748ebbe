from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from services.uncertainty.conformal.methods.metrics import set_metrics
from services.uncertainty.conformal.methods.metrics.efficiency_criteria import criteria
from services.uncertainty.conformal.methods.metrics.worst_slab_coverage import lowest_mean, worst_slab_coverage

# Items of classes 0, 0, 0, 1, 1; class 2 has none.
SETS = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 1]], bool)
LABELS = np.array([0, 0, 0, 1, 1])


def test_metrics_counted_by_hand() -> None:
    assert set_metrics.coverage(SETS, LABELS) == 3 / 5
    np.testing.assert_allclose(set_metrics.class_coverage(SETS, LABELS), [2 / 3, 1 / 2, np.nan])
    assert set_metrics.macro_coverage(SETS, LABELS) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert set_metrics.average_size(SETS) == 7 / 5
    assert set_metrics.size_histogram(SETS).tolist() == [1, 2, 1, 1]
    assert set_metrics.coverage_gap(SETS, LABELS, 0.1) == pytest.approx(100 * ((0.9 - 2 / 3) + (0.9 - 0.5)) / 2)
    assert set_metrics.violated_classes(SETS, LABELS, 0.1) == 2
    assert set_metrics.violated_classes(SETS, LABELS, 0.4) == 1
    found = set_metrics.singletons(SETS, LABELS)
    assert (found.rate, found.right, found.accuracy) == (2 / 5, 1 / 5, 1 / 2)
    # Sizes 0 and 1: one hit of three; sizes 2 and 3: two of two.
    assert set_metrics.size_stratified_violation(SETS, LABELS, 0.1) == pytest.approx(0.9 - 1 / 3)
    strata = set_metrics.by_stratum(SETS.sum(axis=1), SETS, LABELS, ((0, 1), (2, 3), (4, None)))
    assert [(one.count, one.coverage, one.size) for one in strata] == [
        (3, 1 / 3, 2 / 3),
        (2, 1.0, 2.5),
        (0, None, None),
    ]


def test_difficulty_is_the_rank_of_the_label() -> None:
    logits = np.array([[3.0, 2, 1], [1, 2, 3], [2, 3, 1], [3, 2, 1], [1, 1, 1]])
    # Ranks 1, 3, 2, 2, 1: hits 1, 0, 1, 1, 0.
    assert set_metrics.difficulty_violation(logits, SETS, LABELS, 0.1) == pytest.approx(max(0.9 - 1 / 2, 0.9 - 2 / 3))


def test_violations_are_compared_exactly() -> None:
    """3 of 10 are not less than 1 - 0.7, which floating point puts a little above 0.3."""
    sets = np.zeros((10, 2), bool)
    sets[:3, 0] = True
    assert 1 - 0.7 > 3 / 10
    assert set_metrics.violated_classes(sets, np.zeros(10, int), 0.7) == 0


def test_sets_of_more_than_a_thousand_labels_are_counted() -> None:
    sets = np.ones((4, 1500), bool)
    assert set_metrics.size_stratified_violation(sets, np.zeros(4, int), 0.1) == pytest.approx(0.1)


def test_no_singletons_have_no_accuracy() -> None:
    assert set_metrics.singletons(np.ones((3, 2), bool), np.zeros(3, int)).accuracy is None


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros((5, 1), int)])
def test_shapes_are_checked(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="fit"):
        set_metrics.coverage(SETS, labels)
    with pytest.raises(ValueError, match="fit"):
        criteria(SETS.astype(float), labels, 0.1)


@settings(deadline=None)
@given(hnp.arrays(bool, st.integers(1, 40)), st.data())
def test_lowest_mean_is_that_of_all_runs(values: np.ndarray, data: st.DataObject) -> None:
    shortest = data.draw(st.integers(1, len(values)))
    first, last, mean = lowest_mean(values, shortest)
    runs = [
        values[start:stop].mean() for start in range(len(values)) for stop in range(start + shortest, len(values) + 1)
    ]
    assert mean == pytest.approx(min(runs))
    assert last - first + 1 >= shortest
    assert values[first : last + 1].mean() == pytest.approx(mean)


def test_worst_slab_is_found_and_measured_elsewhere() -> None:
    """Coverage is 0.5 where the first feature exceeds 1.2 (12 % of items) and 0.95 elsewhere."""
    random = np.random.default_rng(0)
    features = random.normal(size=(8000, 2))
    bad = features[:, 0] > 1.2
    covered = random.random(8000) < np.where(bad, 0.5, 0.95)
    found = worst_slab_coverage(features, covered, seed=1, directions=60)
    assert found == pytest.approx(0.55, abs=0.07)
    assert found == worst_slab_coverage(features, covered, seed=1, directions=60)
    even = worst_slab_coverage(features, random.random(8000) < 0.9, seed=1, directions=60)
    assert even == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("change", [{"mass": 0.0}, {"search_share": 1.0}, {"directions": 0}])
def test_bad_slabs_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie"):
        worst_slab_coverage(np.zeros((9, 2)), np.ones(9, bool), seed=0, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="do not fit"):
        worst_slab_coverage(np.zeros((9, 2)), np.ones(8, bool), seed=0)


def test_criteria_counted_by_hand() -> None:
    values = np.array([[0.8, 0.3, 0.05], [0.2, 0.2, 0.5]])
    found = criteria(values, np.array([0, 1]), 0.1)
    assert pytest.approx((1.15 + 0.9) / 2) == found.S
    assert found.N == (2 + 3) / 2
    assert pytest.approx((0.3 + 0.2) / 2) == found.U
    assert pytest.approx((0.35 + 0.4) / 2) == found.F
    assert found.M == 1
    assert found.observed_unconfidence == pytest.approx((0.3 + 0.5) / 2)
    assert found.observed_fuzziness == pytest.approx((0.35 + 0.7) / 2)
    assert found.observed_multiple == 1
    assert found.observed_excess == (1 + 2) / 2
    assert criteria(values, np.array([0, 1]), 0.2).N == (2 + 1) / 2
