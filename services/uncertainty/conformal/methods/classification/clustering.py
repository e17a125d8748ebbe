"""Clustered conformal prediction: labels with alike scores share a threshold (Ding et al. 2023).

Between one threshold for all, which fails some classes, and one for each, which needs many examples of each. A part of
the items groups the labels, the other part calibrates; the parts are disjoint, or the guarantee would be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.classification.calibration import Calibration
from services.uncertainty.conformal.methods.classification.kmeans import kmeans
from services.uncertainty.conformal.methods.classification.taxonomies import ByCluster
from services.uncertainty.conformal.methods.group_scores import Cells
from services.uncertainty.conformal.methods.levels import Level, needed_count
from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
from services.uncertainty.conformal.methods.scores import Inputs, Labels, Score, Values

Division = Literal["random", "proportional"]

_QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.9)
_BALANCE = 75


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Number of clusters, and the share of the items that they are found on.

    Attributes:
        clusters: m; below 2 labels are not clustered at all.
        share: of the items that cluster, in [0, 1).
    """

    clusters: int
    share: float

    @classmethod
    def of(cls, counts: NDArray[np.int64], alpha: Level) -> ClusterPlan:
        """The authors' rule from the examples of each label (K,), computed anew for every calibration.

        With n the larger of the rarest label's count and `needed_count(alpha)`, and M labels of at least n examples:
        floor(n M / (75 + M)) examples of each for clustering, and half as many clusters.
        """
        examples = max(int(counts.min()), needed_count(alpha))
        kept = int((counts >= examples).sum())
        clustering = examples * kept // (_BALANCE + kept)
        return cls(clusters=clustering // 2, share=clustering / examples)


def calibrate_clustered(
    score: Score,
    inputs: Inputs,
    labels: Labels,
    alpha: Level,
    *,
    seed: int,
    numbers: Values | None = None,
    plan: ClusterPlan | None = None,
    division: Division = "random",
    threads: int = 1,
) -> Calibration:
    """Cluster the labels on a part of the items and calibrate on the rest.

    Labels with fewer than `needed_count(alpha)` examples in the clustering part, none included, form the null cluster,
    whose threshold is that of all calibrating items: marginal coverage for them, not an infinite set. Coverage is exact
    for each cluster and approximate for each label.

    Args:
        score: the nonconformity score.
        inputs: as the score takes them, (N, K) or (N, F).
        labels: of the items, (N,).
        alpha: the level that clusters are made for; other levels may be asked later.
        seed: of the division and of the clusters.
        numbers: random numbers of the items, (N,), if the score is randomised.
        plan: by default the authors' rule.
        division: each item at random, or the same share of each label.
        threads: threads that share the rows.

    Raises:
        ValueError: anything that does not fit.
    """
    scores = score.of_labels(inputs, labels, numbers, threads=threads)
    classes = score.classes_of(inputs)
    plan = plan or ClusterPlan.of(np.bincount(labels, minlength=classes), alpha)
    chosen = _chosen(labels, plan.share, seed, division)
    taxonomy = _clusters(scores[chosen], labels[chosen], classes, alpha, plan, seed)
    # Where nothing was clustered no score was looked at: all items calibrate.
    kept = ~chosen if taxonomy.count else np.ones_like(chosen)
    rest, cells = scores[kept], taxonomy.of_labels(labels[kept])
    parts = [rest[cells == cluster] for cluster in range(taxonomy.count)]
    return Calibration(score=score, taxonomy=taxonomy, cells=Cells.join([*parts, rest]))


def _chosen(labels: Labels, share: float, seed: int, division: Division) -> NDArray[np.bool_]:
    """Which items cluster; of each label the same share without replacement if proportional."""
    numbers = uniforms(seed, np.arange(len(labels)), Purpose.CLUSTERING)
    if division == "random":
        return numbers < share
    order = np.lexsort((numbers, labels))
    counts = np.bincount(labels)
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    inside: NDArray[np.bool_] = place < np.floor(share * counts[labels])
    return inside


def _clusters(scores: Values, labels: Labels, classes: int, alpha: Level, plan: ClusterPlan, seed: int) -> ByCluster:
    counts = np.bincount(labels, minlength=classes)
    frequent = np.flatnonzero(counts >= needed_count(alpha))
    clusters = np.full(classes, plan.clusters, np.intp)
    if plan.clusters < 2 or len(frequent) <= plan.clusters:
        return ByCluster(classes=classes, clusters=(0,) * classes, count=0)
    profiles = np.stack([np.quantile(scores[labels == label], _QUANTILES) for label in frequent])
    clusters[frequent] = kmeans(profiles, np.sqrt(counts[frequent]), plan.clusters, seed=seed)
    return ByCluster(classes=classes, clusters=tuple(int(one) for one in clusters), count=plan.clusters)
