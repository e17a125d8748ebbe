"""TorchCP's predictors beside ours: by class, by rank, clustered, weighted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from services.uncertainty.conformal.evaluation.reference_comparison.findings import (
    TORCHCP,
    Finding,
    Material,
    attempt,
    difference,
    share_of_other_members,
    tensor,
)
from services.uncertainty.conformal.methods import scores as own
from services.uncertainty.conformal.methods.classification.calibration import (
    Calibration,
    calibrate,
    make_class_taxonomy,
)
from services.uncertainty.conformal.methods.classification.rank_calibration import calibrate_ranks
from services.uncertainty.conformal.methods.classification.taxonomies import ByCluster
from services.uncertainty.conformal.methods.classification.weighted_calibration import calibrate_weighted
from services.uncertainty.conformal.methods.group_scores import Cells
from services.uncertainty.conformal.methods.metrics import set_metrics


def predictors(material: Material) -> Iterator[Finding]:
    """Everything that is compared of them."""
    for part in (_by_class, _ranks, _clusters, _weights):
        yield from part(material)


def _by_class(material: Material) -> Iterator[Finding]:
    from torchcp.classification.predictor import ClassConditionalPredictor
    from torchcp.classification.score import LAC

    few = material.labels < 19
    calibration = calibrate(own.THR(), material.logits[few], material.labels[few], taxonomy=make_class_taxonomy(20))
    predictor = ClassConditionalPredictor(LAC(), model=nn.Identity(), alpha=0.1, device="cpu")
    predictor.calculate_threshold(tensor(material.logits[few]), tensor(material.labels[few]))
    yield Finding(TORCHCP, "class-conditional thresholds", difference(calibration.thresholds(0.1), predictor.q_hat))
    yield attempt(
        TORCHCP,
        "class-conditional p-values",
        lambda: difference(calibration.p_values(material.tests), predictor.predict_p(tensor(material.tests))),
    )


def _ranks(material: Material) -> Iterator[Finding]:
    from torchcp.classification.predictor import RC3PPredictor
    from torchcp.classification.score import LAC

    def without_loader() -> float:
        RC3PPredictor(LAC(), alpha=0.1).calculate_threshold(tensor(material.logits), tensor(material.labels))
        return 0.0

    yield attempt(TORCHCP, "RC3P calibrated without a loader", without_loader)
    calibration = calibrate_ranks(own.THR(), material.logits, material.labels)
    predictor = RC3PPredictor(LAC(), model=nn.Identity(), alpha=0.1, device="cpu")
    predictor.num_classes = 20
    predictor.calculate_threshold(tensor(material.logits), tensor(material.labels))
    thresholds, limits = calibration.limits(0.1)
    note = "alpha minus the share of missed ranks is computed in float32: the rank may be off by one"
    yield Finding(TORCHCP, "RC3P rank limits", difference(limits, predictor.class_rank_limits))
    gap = difference(thresholds, predictor.class_thresholds)
    yield Finding(TORCHCP, "RC3P thresholds", gap, note if gap else "")
    sets = predictor.predict_with_logits(tensor(material.tests))
    share = share_of_other_members(calibration.sets(material.tests, 0.1), sets)
    yield Finding(TORCHCP, "RC3P sets", share, note if share else "")


def _clusters(material: Material) -> Iterator[Finding]:
    """With their clusters and their division of the items, thresholds must agree; then a class without items."""
    from torchcp.classification.predictor import ClusteredPredictor
    from torchcp.classification.score import LAC

    scores = own.THR().of_labels(material.logits, material.labels)
    for name, kept, note in (
        ("every class present", material.labels >= 0, ""),
        (
            "one class absent",
            material.labels < 19,
            "the absent class takes the last cluster's threshold; ours is pooled",
        ),
    ):
        torch.manual_seed(0)
        predictor = ClusteredPredictor(LAC(), alpha=0.1, ratio_clustering=0.4, num_clusters=3)
        predictor.calculate_threshold(tensor(material.logits[kept]), tensor(material.labels[kept]))
        assigned = predictor.cluster_assignments.numpy()
        rest = ~predictor.idx1.numpy()
        taxonomy = ByCluster(classes=20, clusters=tuple(np.where(assigned < 0, 3, assigned).tolist()), count=3)
        proper, labels = scores[kept][rest], material.labels[kept][rest]
        cells = taxonomy.of_labels(labels)
        joined = Cells.join([*(proper[cells == cluster] for cluster in range(3)), proper])
        ours = Calibration(score=own.THR(), taxonomy=taxonomy, cells=joined).thresholds(0.1)[taxonomy.of_all(1)[0]]
        yield Finding(TORCHCP, f"clustered thresholds, {name}", difference(ours, predictor.q_hat), note)


def _weights(material: Material) -> Iterator[Finding]:
    """Coverage of its own predictor under covariate shift, given the true density ratio, at nominal .90."""
    from torchcp.classification.predictor import WeightedPredictor
    from torchcp.classification.score import LAC

    class Ratio(nn.Module):
        """p(target) and p(source) up to scale: the target's place has density 3 x^2."""

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.ones_like(features), 3 * features**2], dim=1)

    ours, theirs, sizes = [], [], []
    for turn in range(20):
        random = np.random.default_rng(turn)
        place = np.concatenate([random.random(1000), random.beta(3, 1, 1000)])
        labels = random.integers(0, 6, 2000)
        logits = random.normal(size=(2000, 6))
        logits[np.arange(2000), labels] += 5 * (1 - place)
        source, target, weights = slice(0, 1000), slice(1000, 2000), 3 * place**2
        calibration = calibrate_weighted(own.THR(), logits[source], labels[source], weights[source])
        sets = calibration.sets(logits[target], 0.1, weights=weights[target])
        predictor = WeightedPredictor(LAC(), nn.Identity(), alpha=0.1, image_encoder=nn.Identity(), device="cpu")
        predictor.calculate_threshold(tensor(logits[source]), tensor(labels[source]), 0.1)
        predictor.w_sorted = torch.sort(tensor(weights[source]))[0]
        own_mass = tensor(weights[target])[:, None]
        mass = torch.cat([predictor.w_sorted.expand(1000, -1), own_mass], 1)
        place_of_level = torch.argmax(((mass / mass.sum(1, keepdim=True)).cumsum(1) >= 0.9).int(), dim=1)
        their_sets = predictor.predict_with_logits(
            tensor(logits[target]), predictor.scores_sorted[place_of_level][:, None]
        )
        ours.append(set_metrics.coverage(sets, labels[target]))
        theirs.append(set_metrics.coverage(their_sets.numpy().astype(bool), labels[target]))
        sizes.append((set_metrics.average_size(sets), float(their_sets.sum(dim=1).double().mean())))
    our_size, their_size = np.mean(sizes, axis=0)
    yield Finding(
        TORCHCP,
        "weighted: coverage under shift at nominal .90 (its arithmetic, true weights)",
        abs(float(np.mean(ours)) - float(np.mean(theirs))),
        f"weights sorted apart from scores: ours covers {np.mean(ours):.3f} with {our_size:.2f} labels, "
        f"TorchCP {np.mean(theirs):.3f} with {their_size:.2f}",
    )
