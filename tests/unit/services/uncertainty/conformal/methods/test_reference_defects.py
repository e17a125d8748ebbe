"""What TorchCP 1.2.1 gets wrong in classification, each with the behaviour that is right; make compare-conformal shows
the reference beside it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from services.uncertainty.conformal.methods.classification.calibration import calibrate, make_class_taxonomy
from services.uncertainty.conformal.methods.classification.clustering import calibrate_clustered
from services.uncertainty.conformal.methods.classification.rank_calibration import calibrate_ranks
from services.uncertainty.conformal.methods.classification.taxonomies import ByCluster
from services.uncertainty.conformal.methods.classification.weighted_calibration import calibrate_weighted
from services.uncertainty.conformal.methods.levels import conformal_rank
from services.uncertainty.conformal.methods.metrics.set_metrics import macro_coverage, size_stratified_violation
from services.uncertainty.conformal.methods.scores import SAPS, THR, Entmax, Margin, Transform


def modest_classifier(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four classes, right in somewhat more than half of the cases."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    logits = random.normal(size=(count, 4))
    logits[np.arange(count), labels] += 1.2
    return logits, labels


def test_weights_are_not_sorted_by_themselves() -> None:
    """Defect 1: small scores with large weights, so sorting both apart would blow the threshold up to the largest."""
    logits = np.array([[4.0, 0.0]] * 50 + [[0.0, 4.0]] * 50)
    weights = np.array([1.0] * 50 + [0.001] * 50)
    calibration = calibrate_weighted(THR(), logits, np.zeros(100, int), weights)
    assert calibration.scores.quantiles(np.array([1.0]), 0.1)[0] == pytest.approx(1 / (1 + np.exp(4)))
    assert calibration.sets(np.array([[4.0, 0.0]]), 0.1, weights=np.array([1.0])).tolist() == [[True, False]]


@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_plain_saps_covers(alpha: float) -> None:
    """Defect 2: coverage .56 at .70 and 0 at .50, for the best label's own score was 0 but pi_max among all labels."""
    logits, labels = modest_classifier(8000)
    score = SAPS(randomised=False)
    calibration = calibrate(score, logits[:4000], labels[:4000])
    covered = calibration.sets(logits[4000:], alpha)[np.arange(4000), labels[4000:]].mean()
    assert covered > 1 - alpha - 0.03
    best = logits.argmax(axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(score.of_labels(logits, best), probabilities.max(axis=1))


def test_too_few_items_give_infinity_and_everything() -> None:
    """Defect 5: an infinite threshold is a number like others, with a set that has all labels and no crash."""
    logits, labels = modest_classifier(8)
    calibration = calibrate(THR(), logits, labels)
    assert calibration.thresholds(0.1).tolist() == [np.inf]
    threshold = calibration.cells.threshold(0, 0.1)
    assert (threshold.count, threshold.needed) == (8, 9)
    assert calibration.sets(logits, 0.1).all()
    nothing = calibrate(THR(), logits[:0], labels[:0])
    assert nothing.sets(logits, 0.1).all()
    assert (nothing.p_values(logits) == 1).all()


def test_an_empty_class_takes_no_other_clusters_threshold() -> None:
    """Defect 6: it took the last cluster's, index -1; and parameters were frozen at the first calibration."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 100, 10_000)
    logits = random.normal(size=(10_000, 101))
    logits[np.arange(10_000), labels] += np.where(labels < 50, 0.5, 6)
    calibration = calibrate_clustered(THR(), logits, labels, 0.1, seed=1)
    taxonomy = calibration.taxonomy
    assert isinstance(taxonomy, ByCluster)
    # 9 examples are needed and 100 classes have them: 9 * 100 // 175 = 5, two clusters.
    assert taxonomy.count == 2
    assert taxonomy.clusters[100] == 2  # The null cluster, whose threshold is that of all items.
    pooled = np.sort(calibration.cells.cell(2))
    thresholds = calibration.thresholds(0.1)
    assert thresholds[2] == pooled[conformal_rank(len(pooled), 0.1) - 1]
    assert len(set(thresholds.tolist())) == 3
    again = calibrate_clustered(THR(), logits[:, :100], labels, 0.1, seed=1).taxonomy
    assert isinstance(again, ByCluster)
    assert again.count > 2  # Without the empty class the rule gives more; nothing is kept from before.


def test_identity_scores_leave_the_logits_alone() -> None:
    """Defect 7: Margin wrote -1 into the caller's logits."""
    logits, labels = modest_classifier(50)
    before = logits.copy()
    Margin(transform=Transform.IDENTITY).of_labels(logits, labels)
    THR(transform=Transform.IDENTITY).of_labels(logits, labels)
    Entmax().of_labels(logits, labels)
    np.testing.assert_array_equal(logits, before)


def test_class_conditional_p_values_and_plain_rank_calibration_exist() -> None:
    """Defect 7: both raised AttributeError and TypeError."""
    logits, labels = modest_classifier(400)
    values = calibrate(THR(), logits, labels, taxonomy=make_class_taxonomy(4)).p_values(logits)
    assert values.shape == (400, 4)
    assert calibrate_ranks(THR(), logits, labels).sets(logits, 0.1).any()


def test_entmax_of_many_classes_is_quick_and_silent() -> None:
    """Defect 10: a double loop in Python; and a logarithm of zero gaps."""
    logits = np.random.default_rng(0).normal(size=(50, 1000)).round(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for gamma in (1.0, 1.5, 2.0, 3.0):
            assert np.isfinite(Entmax(gamma=gamma).of_all(logits)).all()


def test_ranks_come_from_the_text_of_alpha() -> None:
    """Defect 10: ceil(10 * (1 - 0.7)) is 4 in floating point."""
    assert conformal_rank(9, 0.7) == 3


def test_absent_classes_do_not_lower_macro_coverage() -> None:
    """Not in the list: the mean was taken over all classes, absent ones counting 0."""
    assert macro_coverage(np.ones((4, 3), bool), np.zeros(4, int)) == 1


def test_sets_beyond_the_last_stratum_count() -> None:
    """Not in the list: with sets of more than 1,000 labels only, SSCV was -1."""
    assert size_stratified_violation(np.ones((4, 1200), bool), np.zeros(4, int), 0.1) == pytest.approx(0.1)
