from __future__ import annotations

import json
import math
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from services.uncertainty.conformal.methods.classification.calibration import (
    add_best_label,
    calibrate,
    make_class_taxonomy,
    make_group_taxonomy,
)
from services.uncertainty.conformal.methods.classification.rank_calibration import calibrate_ranks
from services.uncertainty.conformal.methods.classification.taxonomies import mass_ranks, predicted_classes
from services.uncertainty.conformal.methods.classification.weighted_calibration import calibrate_weighted
from services.uncertainty.conformal.methods.coverage_distribution import hits_law
from services.uncertainty.conformal.methods.group_scores import Cells, confidence, credibility, p_values
from services.uncertainty.conformal.methods.levels import to_level
from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
from services.uncertainty.conformal.methods.scores import APS, KNN, RAPS, SAPS, THR, Entmax, Score, TopK, Transform
from services.uncertainty.conformal.storage.serialization import from_arrays, to_arrays
from tests.unit.services.uncertainty.conformal.methods import naive

LEVELS = ("0.05", "0.1", "0.3", "0.5", "0.7")


def drawn(count: int, classes: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits of a classifier that is sometimes right, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes))
    logits[np.arange(count), labels] += random.exponential(2, count)
    return logits, labels


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), max_size=50),
    st.lists(st.tuples(st.integers(-6, 6), st.integers(-1, 3)), min_size=1, max_size=8),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(LEVELS),
)
def test_cells_are_the_naive_ones(
    calibration: list[tuple[int, int]], tests: list[tuple[int, int]], share: float, alpha: str
) -> None:
    """Counts, p-values and thresholds of four cells with many ties; and sets are the labels with p above alpha."""
    scores, places = np.array([s for s, _ in calibration], float), np.array([c for _, c in calibration], np.intp)
    cells = Cells.of(scores, places, 4)
    found = cells.compare(np.array([[float(s) for s, _ in tests]]), np.array([[c for _, c in tests]], np.intp))
    by_cell = [[float(s) for s, c in calibration if c == cell] for cell in range(4)]
    parts = [by_cell[cell] if cell >= 0 else [] for _, cell in tests]
    plain = [naive.p_value(part, s) for part, (s, _) in zip(parts, tests, strict=True)]
    smooth = [naive.p_value(part, s, share) for part, (s, _) in zip(parts, tests, strict=True)]
    np.testing.assert_array_equal(p_values(found)[0], plain)
    np.testing.assert_allclose(p_values(found, np.array([share]))[0], smooth, rtol=1e-15)
    thresholds = cells.thresholds(alpha)
    assert thresholds.tolist() == [naive.quantile(part, alpha) for part in by_cell]
    assert [cells.threshold(cell, alpha).value for cell in range(4)] == thresholds.tolist()
    for (score, cell), value in zip(tests, plain, strict=True):
        threshold = thresholds[cell] if cell >= 0 else math.inf
        assert (score <= threshold) == (value > float(to_level(alpha)))


def test_one_cell_is_compared_as_many_are() -> None:
    random = np.random.default_rng(0)
    scores, tests = random.integers(0, 9, 50).astype(float), random.integers(-1, 11, (6, 5)).astype(float)
    one = Cells.of(scores, np.zeros(50, np.intp), 1)
    two = Cells.of(scores, np.zeros(50, np.intp), 2)
    for left, right in zip(
        one.compare(tests, np.zeros((1, 1), np.intp)), two.compare(tests, np.zeros((1, 1), np.intp)), strict=True
    ):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("score", [THR(), APS(), RAPS(penalty=0.05, free_ranks=1), SAPS(), TopK()])
def test_hits_follow_the_beta_binomial_law(score: Score) -> None:
    """400 independent calibrations and tests; randomised probability integral transform, Kolmogorov and Smirnov."""
    count, tests, alpha = 99, 50, 0.1
    law, random = hits_law(count, alpha, tests), np.random.default_rng(11)
    places = []
    for turn in range(400):
        logits, labels = drawn(count + tests, 6, seed=turn)
        numbers = uniforms(turn, np.arange(count + tests), Purpose.CALIBRATION)
        calibration = calibrate(score, logits[:count], labels[:count], uniforms=numbers[:count])
        sets = calibration.sets(logits[count:], alpha, uniforms=numbers[count:])
        hits = int(sets[np.arange(tests), labels[count:]].sum())
        places.append(law.cdf(hits) - random.random() * law.pmf(hits))
    assert stats.kstest(places, "uniform").pvalue > 0.01


def test_smoothed_p_values_are_uniform_for_tied_scores() -> None:
    """TopK without a number of its own has six different scores only; smoothing makes up for it."""
    places = []
    for turn in range(300):
        logits, labels = drawn(60, 6, seed=turn)
        calibration = calibrate(TopK(randomised=False), logits[:59], labels[:59])
        tau = uniforms(turn, np.arange(1), Purpose.SMOOTHING)
        places.append(calibration.p_values(logits[59:], smoothing=tau)[0, labels[59]])
    assert stats.kstest(places, "uniform").pvalue > 0.01


@pytest.mark.parametrize("score", [THR(), APS(), TopK(), Entmax()])
@pytest.mark.parametrize("kind", ["marginal", "label", "group", "group and label"])
def test_sets_are_the_labels_with_large_p_values(score: Score, kind: str) -> None:
    logits, labels = drawn(400, 5, seed=2)
    numbers, groups = np.random.default_rng(0).random(400), predicted_classes(logits) % 3
    half, rest = slice(0, 300), slice(300, None)
    taxonomy = {
        "marginal": None,
        "label": make_class_taxonomy(5),
        "group": make_group_taxonomy(groups[half], 5),
        "group and label": make_group_taxonomy(groups[half], 5, with_labels=True),
    }[kind]
    calibration = calibrate(
        score, logits[half], labels[half], uniforms=numbers[half], taxonomy=taxonomy, groups=groups[half]
    )
    values = calibration.p_values(logits[rest], uniforms=numbers[rest], groups=groups[rest])
    for alpha in LEVELS:
        sets = calibration.sets(logits[rest], alpha, uniforms=numbers[rest], groups=groups[rest])
        np.testing.assert_array_equal(sets, values > float(to_level(alpha)))
    # By hand, for one item and label at a time.
    every = score.of_labels(logits[half], labels[half], numbers[half])
    tested = score.of_all(logits[rest], numbers[rest])
    for item in range(0, 100, 17):
        for label in range(5):
            same = np.ones(300, bool)
            if "group" in kind:
                same &= groups[half] == groups[300 + item]
            if "label" in kind:
                same &= labels[half] == label
            expected = naive.p_value(every[same].tolist(), float(tested[item, label]))
            assert values[item, label] == pytest.approx(expected, rel=1e-12)


def test_what_was_never_seen_is_never_excluded() -> None:
    """A class without examples is in every set; an item of an unknown group gets all labels and p-values of 1."""
    logits, labels = drawn(200, 4, seed=4)
    labels[labels == 3] = 2
    calibration = calibrate(THR(), logits, labels, taxonomy=make_class_taxonomy(4))
    assert calibration.thresholds(0.1)[3] == np.inf
    assert calibration.sets(logits, 0.1)[:, 3].all()
    assert not calibration.sets(logits, 0.1)[:, 2].all()
    groups = np.array([5, -7] * 100)
    calibration = calibrate(THR(), logits, labels, taxonomy=make_group_taxonomy(groups, 4), groups=groups)
    unknown = np.full(10, 6)
    assert calibration.sets(logits[:10], 0.1, groups=unknown).all()
    assert (calibration.p_values(logits[:10], groups=unknown) == 1).all()


def test_group_conditional_coverage() -> None:
    """Where one group is harder, plain sets fail it and those by group do not; 30 calibrations of 1,000."""
    covered: dict[str, list[float]] = {"plain": [], "group": []}
    for turn in range(30):
        random = np.random.default_rng(turn)
        labels = random.integers(0, 8, 2000)
        groups = np.arange(2000) % 2
        logits = random.normal(size=(2000, 8))
        logits[np.arange(2000), labels] += np.where(groups == 1, 0.5, 4)
        first, rest = slice(0, 1000), slice(1000, None)
        hard = groups[rest] == 1
        for name, taxonomy in (("plain", None), ("group", make_group_taxonomy(groups, 8))):
            calibration = calibrate(THR(), logits[first], labels[first], taxonomy=taxonomy, groups=groups[first])
            sets = calibration.sets(logits[rest], 0.1, groups=groups[rest])
            covered[name].append(float(sets[np.arange(1000), labels[rest]][hard].mean()))
    assert np.mean(covered["plain"]) < 0.85
    assert np.mean(covered["group"]) == pytest.approx(0.9, abs=0.015)


def test_rank_calibration_by_hand() -> None:
    logits, labels = drawn(300, 5, seed=9)
    calibration = calibrate_ranks(THR(), logits, labels)
    for alpha in ("0.1", "0.3"):
        level = Fraction(alpha)
        thresholds, limits = calibration.limits(alpha)
        for label in range(5):
            mine = [row for row, own in zip(logits.tolist(), labels.tolist(), strict=True) if own == label]
            ranks = [naive.rank(row, label) + 1 for row in mine]
            limit = next(k for k in range(1, 6) if Fraction(sum(r > k for r in ranks), len(ranks)) < level)
            missed = Fraction(sum(r > limit for r in ranks), len(ranks))
            assert limits[label] == limit
            # Python's own exponential differs in the last bit.
            expected = naive.quantile([naive.thr(row, label, 0) for row in mine], str(level - missed))
            assert thresholds[label] == pytest.approx(expected, rel=1e-12)
        ranks_of_all = [[naive.rank(row, label) + 1 for label in range(5)] for row in logits.tolist()]
        expected_sets = (THR().of_all(logits) <= thresholds) & (np.array(ranks_of_all) <= limits)
        np.testing.assert_array_equal(calibration.sets(logits, alpha), expected_sets)


def test_weighted_calibration_covers_under_shift() -> None:
    """Classes are confused in one half of space, and test items lie there: exact weights give coverage back."""
    covered: dict[str, list[float]] = {"weighted": [], "plain": []}
    for turn in range(40):
        random = np.random.default_rng(turn)
        place = np.concatenate([random.random(1000), random.beta(3, 1, 1000)])
        labels = random.integers(0, 6, 2000)
        logits = random.normal(size=(2000, 6))
        logits[np.arange(2000), labels] += 5 * (1 - place)
        weights = 3 * place**2
        calibration = calibrate_weighted(THR(), logits[:1000], labels[:1000], weights[:1000])
        assert 400 < calibration.effective_size < 700
        sets = calibration.sets(logits[1000:], 0.1, weights=weights[1000:])
        values = calibration.p_values(logits[1000:], weights=weights[1000:])
        np.testing.assert_array_equal(sets, values > 0.1)
        plain = calibrate(THR(), logits[:1000], labels[:1000]).sets(logits[1000:], 0.1)
        covered["weighted"].append(float(sets[np.arange(1000), labels[1000:]].mean()))
        covered["plain"].append(float(plain[np.arange(1000), labels[1000:]].mean()))
    assert np.mean(covered["weighted"]) == pytest.approx(0.9, abs=0.012)
    assert np.mean(covered["plain"]) < 0.87


def test_best_label_fills_empty_sets_only() -> None:
    logits, labels = drawn(500, 5, seed=1)
    sets = calibrate(THR(), logits, labels).sets(logits, 0.5)
    empty = ~sets.any(axis=1)
    assert empty.any()
    before = sets.copy()
    filled = add_best_label(sets, logits)
    np.testing.assert_array_equal(filled[~empty], sets[~empty])
    assert (filled[empty].sum(axis=1) == 1).all()
    assert (filled[empty].argmax(axis=1) == logits[empty].argmax(axis=1)).all()
    np.testing.assert_array_equal(sets, before)


def test_credibility_and_confidence() -> None:
    """The set is down to one label at most just where 1 - alpha is less than the confidence."""
    values = np.array([[0.02, 0.5, 0.3], [0.01, 0.01, 0.01]])
    np.testing.assert_array_equal(credibility(values), [0.5, 0.01])
    np.testing.assert_allclose(confidence(values), [0.7, 0.99])


def test_groups_of_logits() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.95, 0.03, 0.02], [0.2, 0.2, 0.6]])
    assert mass_ranks(probabilities, 0.9).tolist() == [3, 1, 3]
    assert mass_ranks(probabilities, 0.75).tolist() == [2, 1, 2]
    assert predicted_classes(probabilities).tolist() == [0, 0, 2]


def test_calibrations_are_stored_without_pickle() -> None:
    logits, labels = drawn(200, 4, seed=6)
    numbers, groups, weights = np.random.default_rng(1).random((3, 200))
    whole_groups = (groups * 3).astype(np.int64)
    features = KNN(features=logits[:50], labels=labels[:50], classes=4, neighbours=2)
    made: list[tuple[Any, dict[str, Any]]] = [
        (calibrate(APS(), logits, labels, uniforms=numbers), {"uniforms": numbers}),
        (calibrate(THR(transform=Transform.LOG_SOFTMAX), logits, labels, taxonomy=make_class_taxonomy(4)), {}),
        (
            calibrate(
                Entmax(gamma=1.5), logits, labels, taxonomy=make_group_taxonomy(whole_groups, 4), groups=whole_groups
            ),
            {"groups": whole_groups},
        ),
        (calibrate(features, logits, labels), {}),
        (calibrate_weighted(THR(), logits, labels, weights), {"weights": weights}),
        (calibrate_ranks(RAPS(penalty=0.1), logits, labels, uniforms=numbers), {"uniforms": numbers}),
    ]
    for calibration, more in made:
        arrays, record = to_arrays(calibration)
        file = BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        with np.load(BytesIO(file.getvalue()), allow_pickle=False) as archive:
            again: Any = from_arrays(dict(archive), json.loads(json.dumps(record)))
        np.testing.assert_array_equal(again.sets(logits, 0.2, **more), calibration.sets(logits, 0.2, **more))
        assert type(again.score) is type(calibration.score)


@pytest.mark.parametrize("record", [{}, {"score": {"name": "thr"}}, {"score": {"name": "none"}, "method": "split"}])
def test_what_is_no_calibration_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="calibration"):
        from_arrays({}, record)
    with pytest.raises(ValueError, match="method"):
        from_arrays({}, {"score": {"name": "thr"}, "method": "magic"})


def test_other_numbers_of_classes_are_refused() -> None:
    logits, labels = drawn(50, 4, seed=6)
    for calibration in (calibrate(THR(), logits, labels), calibrate_ranks(THR(), logits, labels)):
        with pytest.raises(ValueError, match="calibrated for 4"):
            calibration.sets(logits[:, :3], 0.1)
    with pytest.raises(ValueError, match="calibrated for 4"):
        calibrate_weighted(THR(), logits, labels, np.ones(50)).sets(logits[:, :3], 0.1, weights=np.ones(50))
    with pytest.raises(ValueError, match="taxonomy of 3"):
        calibrate(THR(), logits, labels, taxonomy=make_class_taxonomy(3))
    with pytest.raises(ValueError, match="group"):
        calibrate(THR(), logits, labels, taxonomy=make_group_taxonomy(labels, 4))
    with pytest.raises(ValueError, match="cells"):
        calibrate(THR(), logits, labels, taxonomy=make_group_taxonomy(labels, 4), groups=labels + 1)
    with pytest.raises(ValueError, match="weight"):
        calibrate_weighted(THR(), logits, labels, np.ones(50)).sets(logits, 0.1, weights=np.ones(3))
