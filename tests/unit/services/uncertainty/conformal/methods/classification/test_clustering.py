from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from services.uncertainty.conformal.methods.classification.calibration import calibrate, make_class_taxonomy
from services.uncertainty.conformal.methods.classification.clustering import ClusterPlan, calibrate_clustered
from services.uncertainty.conformal.methods.classification.kmeans import kmeans
from services.uncertainty.conformal.methods.classification.taxonomies import ByCluster
from services.uncertainty.conformal.methods.metrics.set_metrics import coverage_gap
from services.uncertainty.conformal.methods.scores import THR


def clusters_of(taxonomy: object) -> ByCluster:
    assert isinstance(taxonomy, ByCluster)
    return taxonomy


def test_kmeans_finds_the_best_of_all_divisions() -> None:
    """Nine points in two clusters: all 512 divisions are tried."""
    random = np.random.default_rng(2)
    points, weights = random.normal(size=(9, 2)), random.random(9) + 0.1

    def cost(places: tuple[int, ...]) -> float:
        total = 0.0
        for cluster in (0, 1):
            inside = np.array(places) == cluster
            if inside.any():
                centre = np.average(points[inside], axis=0, weights=weights[inside])
                total += float((weights[inside] * ((points[inside] - centre) ** 2).sum(axis=1)).sum())
        return total

    found = kmeans(points, weights, 2, seed=0)
    assert cost(tuple(found.tolist())) == pytest.approx(min(cost(one) for one in product((0, 1), repeat=9)))
    np.testing.assert_array_equal(kmeans(points, weights, 2, seed=0), found)
    assert set(kmeans(np.zeros((5, 2)), np.ones(5), 3, seed=1)) == {0}
    with pytest.raises(ValueError, match="clusters"):
        kmeans(points, weights, 10, seed=0)


@pytest.mark.parametrize(
    ("counts", "alpha", "clusters", "share"),
    [
        ([100] * 100, 0.1, 28, 57 / 100),  # 100 * 100 // 175 = 57
        ([0] + [20] * 50, 0.1, 1, 3 / 9),  # 9 * 50 // 125 = 3
        ([5, 5, 5], 0.1, 0, 0.0),
    ],
)
def test_plan_follows_the_rule(counts: list[int], alpha: float, clusters: int, share: float) -> None:
    assert ClusterPlan.of(np.array(counts), alpha) == ClusterPlan(clusters=clusters, share=share)


def many_classes(seed: int, *, count: int = 9000) -> tuple[np.ndarray, np.ndarray]:
    """30 classes, the odd ones hard; class 28 is rare and class 29 has no items."""
    random = np.random.default_rng(seed)
    shares = np.array([1.0] * 28 + [0.02, 0.0])
    labels = random.choice(30, count, p=shares / shares.sum())
    logits = random.normal(size=(count, 30))
    logits[np.arange(count), labels] += np.where(labels % 2, 1.0, 5.0)
    return logits, labels


@pytest.mark.parametrize("division", ["random", "proportional"])
def test_alike_classes_share_a_threshold(division: str) -> None:
    logits, labels = many_classes(0)
    plan = ClusterPlan(clusters=2, share=0.3)
    calibration = calibrate_clustered(THR(), logits, labels, 0.1, seed=4, plan=plan, division=division)  # type: ignore[arg-type]
    taxonomy = clusters_of(calibration.taxonomy)
    easy, hard = taxonomy.clusters[0], taxonomy.clusters[1]
    assert easy != hard
    assert taxonomy.clusters[:28] == (easy, hard) * 14
    assert taxonomy.clusters[28:] == (2, 2)
    # The null cluster has the threshold of all calibrating items; a class without items gets no other one's.
    counts = calibration.cells.counts
    assert counts[2] >= counts[0] + counts[1]
    assert counts[2] == pytest.approx(0.7 * 9000, abs=150)
    thresholds = calibration.thresholds(0.1)
    assert min(thresholds[:2]) < thresholds[2] < max(thresholds[:2])
    test_logits, test_labels = many_classes(1)
    gaps = [
        coverage_gap(one.sets(test_logits, 0.1), test_labels, 0.1)
        for one in (calibration, calibrate(THR(), logits, labels))
    ]
    assert gaps[0] < gaps[1] / 2


def test_proportional_division_takes_the_same_share_of_each_class_once() -> None:
    logits, labels = many_classes(3)
    plan = ClusterPlan(clusters=2, share=0.25)
    calibration = calibrate_clustered(THR(), logits, labels, 0.1, seed=0, plan=plan, division="proportional")
    chosen = np.floor(0.25 * np.bincount(labels)).sum()
    assert calibration.cells.counts[2] == len(labels) - chosen


def test_too_few_items_are_not_clustered() -> None:
    """All labels are null then: the plain calibration, of all items since none went into clustering."""
    logits, labels = many_classes(5, count=200)
    clustered = calibrate_clustered(THR(), logits, labels, 0.1, seed=0)
    assert clusters_of(clustered.taxonomy).count == 0
    plain = calibrate(THR(), logits, labels)
    np.testing.assert_array_equal(clustered.sets(logits, 0.1), plain.sets(logits, 0.1))


def test_classes_without_examples_stay_apart() -> None:
    logits, labels = many_classes(6)
    by_label = calibrate(THR(), logits, labels, taxonomy=make_class_taxonomy(30))
    assert by_label.thresholds(0.1)[29] == np.inf
