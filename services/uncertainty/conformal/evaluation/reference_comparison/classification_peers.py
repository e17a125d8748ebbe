"""MAPIE and crepes beside ours on the same probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from services.uncertainty.conformal.evaluation.reference_comparison.findings import (
    ALPHAS,
    Finding,
    Material,
    difference,
    share_of_other_members,
)
from services.uncertainty.conformal.evaluation.reference_comparison.references import Values, mapie_classifier
from services.uncertainty.conformal.methods import scores as own
from services.uncertainty.conformal.methods.classification.calibration import calibrate, make_group_taxonomy

MAPIE, CREPES = "MAPIE 1.6.0", "crepes 0.9.1"


def findings() -> list[Finding]:
    """Everything that is compared."""
    warnings.simplefilter("ignore")
    material = Material.drawn()
    return [*_mapie(material), *_crepes(material)]


def _probabilities(logits: Values) -> Values:
    parts = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(parts / parts.sum(axis=1, keepdims=True))


def _mapie(material: Material) -> Iterator[Finding]:
    calibration, tests = _probabilities(material.logits), _probabilities(material.tests)
    identity = own.Transform.IDENTITY
    # MAPIE draws the numbers of calibration and of test items from one seed each: the same ones.
    numbers, test_numbers = (np.random.RandomState(0).uniform(size=len(part)) for part in (calibration, tests))
    pairs = {
        "THR": (own.THR(transform=identity), "lac", {}, 0.0),
        "TopK, not randomised": (own.TopK(transform=identity, randomised=False), "top_k", {}, 1.0),
        "APS": (own.APS(transform=identity), "aps", {"include_last_label": "randomized"}, 0.0),
    }
    for name, (score, theirs, more, first_rank) in pairs.items():
        ours = calibrate(score, calibration, material.labels, uniforms=numbers)
        gaps, others = [], []
        for alpha in ALPHAS:
            classifier = mapie_classifier(theirs, 20, alpha)
            classifier.conformalize(calibration, material.labels)
            _, sets = classifier.predict_set(tests, conformity_score_params=more)
            inner = classifier._mapie_classifier
            threshold = inner.conformity_score_function_.quantiles_[0]
            gaps.append(difference(ours.thresholds(alpha)[0] - first_rank, threshold))
            mine = ours.sets(tests, alpha, uniforms=test_numbers)
            others.append(share_of_other_members(mine, sets[:, :, 0]))
        every = np.sort(np.asarray(inner.conformity_scores_, np.float64).ravel())
        yield Finding(MAPIE, f"{name}: one label", difference(ours.cells.scores - first_rank, every))
        yield Finding(MAPIE, f"{name}: thresholds at .01 .05 .1 .2", max(gaps))
        yield Finding(MAPIE, f"{name}: sets at .01 .05 .1 .2", max(others))


def _crepes(material: Material) -> Iterator[Finding]:
    from crepes import ConformalClassifier
    from crepes.extras import hinge, margin

    probabilities, tests = _probabilities(material.logits), _probabilities(material.tests)
    classes = np.arange(20)
    for name, score, function in (("THR", own.THR(), hinge), ("Margin", own.Margin(), margin)):
        theirs = function(probabilities, classes, material.labels)
        gap = difference(score.of_labels(material.logits, material.labels), theirs)
        yield Finding(CREPES, f"{name}: one label", gap)
        gap = difference(score.of_all(material.tests), function(tests))
        yield Finding(CREPES, f"{name}: all labels", gap)
    calibration = calibrate(own.THR(), material.logits, material.labels)
    every = own.THR().of_all(material.tests)
    classifier = ConformalClassifier().fit(calibration.cells.scores)
    theirs = classifier.predict_p(every, smoothing=False)
    yield Finding(CREPES, "p-values", difference(calibration.p_values(material.tests), theirs))
    groups = material.labels % 3
    test_groups = np.arange(len(material.tests)) % 3
    grouped = calibrate(
        own.THR(), material.logits, material.labels, taxonomy=make_group_taxonomy(groups, 20), groups=groups
    )
    scores = own.THR().of_labels(material.logits, material.labels)
    classifier = ConformalClassifier().fit(scores, bins=groups)
    theirs = classifier.predict_p(every, bins=test_groups, smoothing=False)
    gap = difference(grouped.p_values(material.tests, groups=test_groups), theirs)
    yield Finding(CREPES, "p-values by group", gap)
    for alpha in ALPHAS:
        sets = ConformalClassifier().fit(scores).predict_set(every, confidence=1 - alpha, smoothing=False)
        share = share_of_other_members(calibration.sets(material.tests, alpha), sets)
        note = "labels with p >= alpha are kept, ours and textbook p > alpha" if share else ""
        yield Finding(CREPES, f"sets at {alpha}", share, note)
