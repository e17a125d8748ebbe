"""TorchCP 1.2.1 beside ours: scores, thresholds, sets, p-values, metrics; and its defects, shown on its own code."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from services.uncertainty.conformal.evaluation.reference_comparison.findings import (
    ALPHAS,
    TORCHCP,
    Finding,
    Material,
    difference,
    share_of_other_members,
    tensor,
)
from services.uncertainty.conformal.evaluation.reference_comparison.references import random_numbers
from services.uncertainty.conformal.evaluation.reference_comparison.torchcp_metrics import compare_metrics
from services.uncertainty.conformal.evaluation.reference_comparison.torchcp_predictors import predictors
from services.uncertainty.conformal.methods import scores as own
from services.uncertainty.conformal.methods.classification.calibration import calibrate
from services.uncertainty.conformal.methods.levels import conformal_quantile
from services.uncertainty.conformal.methods.metrics import set_metrics


def findings() -> list[Finding]:
    """Everything that is compared."""
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    material = Material.drawn()
    parts = (_scores, _thresholds, _plain_saps, _p_values, _neighbours, _ranks_of_levels, predictors, compare_metrics)
    return [finding for part in parts for finding in part(material)]


def _pairs() -> dict[str, tuple[own.Score, Any, str]]:
    """Our score, theirs, and why they differ where they do."""
    from torchcp.classification import score

    first_rank = "one label: U pi_max at rank 0 where all labels have (1 - U) pi_max; the same law, not the same number"
    plain_saps = "one label: 0 at rank 0 where all labels have pi_max; coverage is lost"
    overwritten = "correct numbers, but the caller's logits are overwritten"
    return {
        "THR softmax": (own.THR(), score.LAC(), ""),
        "THR log_softmax": (own.THR(transform=own.Transform.LOG_SOFTMAX), score.LAC("log_softmax"), ""),
        "THR identity": (own.THR(transform=own.Transform.IDENTITY), score.LAC("identity"), ""),
        "APS": (own.APS(), score.APS(), ""),
        "APS, not randomised": (own.APS(randomised=False), score.APS(randomized=False), ""),
        "RAPS": (own.RAPS(penalty=0.1, free_ranks=2), score.RAPS(penalty=0.1, kreg=2), ""),
        "SAPS": (own.SAPS(), score.SAPS(), first_rank),
        "SAPS, not randomised": (own.SAPS(randomised=False), score.SAPS(randomized=False), plain_saps),
        "TopK": (own.TopK(), score.TOPK(), ""),
        "Margin": (own.Margin(), score.Margin(), ""),
        "Margin identity": (own.Margin(transform=own.Transform.IDENTITY), score.Margin("identity"), overwritten),
        "Entmax 1": (own.Entmax(gamma=1), score.EntmaxScore(gamma=1.0), ""),
        "Entmax 1.5": (own.Entmax(gamma=1.5), score.EntmaxScore(gamma=1.5), ""),
        "Entmax 2": (own.Entmax(gamma=2), score.EntmaxScore(gamma=2.0), ""),
    }


def _scores(material: Material) -> Iterator[Finding]:
    for name, (ours, theirs, note) in _pairs().items():
        every = ours.of_all(material.tests, material.test_numbers)
        with random_numbers(material.test_numbers):
            gap = difference(every, theirs(tensor(material.tests)))
        yield Finding(TORCHCP, f"{name}: all labels", gap)
        one = ours.of_labels(material.logits, material.labels, material.numbers)
        given = tensor(material.logits)
        with random_numbers(material.numbers):
            gap = difference(one, theirs(given, tensor(material.labels)))
        if not np.array_equal(given.numpy(), material.logits):
            gap = difference(given.numpy(), material.logits)
        yield Finding(TORCHCP, f"{name}: one label", gap, note)


def _thresholds(material: Material) -> Iterator[Finding]:
    from torchcp.classification.predictor import SplitPredictor

    for name, (ours, theirs, note) in _pairs().items():
        calibration = calibrate(ours, material.logits, material.labels, uniforms=material.numbers)
        gaps, others = [], []
        for alpha in ALPHAS:
            predictor = SplitPredictor(theirs, alpha=alpha)
            with random_numbers(material.numbers):
                predictor.calculate_threshold(tensor(material.logits), tensor(material.labels))
            gaps.append(difference(calibration.thresholds(alpha)[0], float(predictor.q_hat)))
            sets = calibration.sets(material.tests, alpha, uniforms=material.test_numbers)
            with random_numbers(material.test_numbers):
                others.append(share_of_other_members(sets, predictor.predict_with_logits(tensor(material.tests))))
        yield Finding(TORCHCP, f"{name}: thresholds at .01 .05 .1 .2", max(gaps), note if max(gaps) else "")
        yield Finding(TORCHCP, f"{name}: sets at .01 .05 .1 .2", max(others), note if max(others) else "")


def _plain_saps(material: Material) -> Iterator[Finding]:
    """Coverage where accuracy is beyond 1 - alpha: the threshold then is 0 and nothing is in any set."""
    from torchcp.classification.predictor import SplitPredictor
    from torchcp.classification.score import SAPS

    calibration = calibrate(own.SAPS(randomised=False), material.logits, material.labels)
    ours = set_metrics.coverage(calibration.sets(material.tests, 0.5), material.test_labels)
    predictor = SplitPredictor(SAPS(randomized=False), alpha=0.5)
    predictor.calculate_threshold(tensor(material.logits), tensor(material.labels))
    sets = predictor.predict_with_logits(tensor(material.tests)).numpy().astype(bool)
    theirs = set_metrics.coverage(sets, material.test_labels)
    note = f"one label has 0 at rank 0, all labels have pi_max: ours covers {ours:.2f}, TorchCP {theirs:.2f}"
    yield Finding(TORCHCP, "SAPS, not randomised: coverage at nominal .50", abs(ours - theirs), note)


def _p_values(material: Material) -> Iterator[Finding]:
    from torchcp.classification.predictor import SplitPredictor
    from torchcp.classification.score import LAC

    calibration = calibrate(own.THR(), material.logits, material.labels)
    predictor = SplitPredictor(LAC(), model=nn.Identity(), device="cpu")
    predictor.calculate_threshold(tensor(material.logits), tensor(material.labels))
    plain = calibration.p_values(material.tests)
    single = "the model's output is cast to float32 before it is scored"
    theirs = predictor.predict_p(tensor(material.tests)).numpy()
    yield Finding(TORCHCP, "p-values, float64 logits", difference(plain, theirs), single)
    coarse = calibrate(own.TopK(randomised=False), material.logits, material.labels)
    from torchcp.classification.score import TOPK

    predictor = SplitPredictor(TOPK(randomized=False), model=nn.Identity(), device="cpu")
    predictor.calculate_threshold(tensor(material.logits), tensor(material.labels))
    given = tensor(material.tests)
    yield Finding(
        TORCHCP, "p-values with ties", difference(coarse.p_values(material.tests), predictor.predict_p(given))
    )
    with random_numbers(material.test_numbers):
        smooth = predictor.predict_p(given, smooth=True)
    ours = coarse.p_values(material.tests, smoothing=material.test_numbers)
    yield Finding(TORCHCP, "smoothed p-values with ties", difference(ours, smooth))


def _neighbours(material: Material) -> Iterator[Finding]:
    from torchcp.classification.score import KNN

    features, labels = material.logits[:400], material.labels[:400]
    for norm, neighbours in ((2.0, 1), (1.0, 3), ("cosine", 1)):
        ours = own.KNN(features=features, labels=labels, classes=20, neighbours=neighbours, norm=norm)
        theirs = KNN(tensor(features), tensor(labels), 20, k=neighbours, p=norm)
        note = "sums the smallest similarities, hence the farthest items" if norm == "cosine" else ""
        gap = difference(ours.of_all(material.tests), theirs(tensor(material.tests)))
        yield Finding(TORCHCP, f"KNN {norm}, {neighbours} neighbours: all labels", gap, note)


def _ranks_of_levels(material: Material) -> Iterator[Finding]:
    from torchcp.utils.common import calculate_conformal_value

    for alpha in (0.1, 0.7):
        wrong = 0
        for count in range(1, 2000):
            ladder = np.arange(1.0, count + 1)
            theirs = float(calculate_conformal_value(torch.from_numpy(ladder), alpha))
            wrong += theirs != conformal_quantile(ladder, alpha, ascending=True).value
        note = f"rank off by one at {wrong} of 1,999 n, in floating point" if wrong else ""
        yield Finding(TORCHCP, f"rank at alpha {alpha} for n < 2000: share of other ranks", wrong / 1999, note)
