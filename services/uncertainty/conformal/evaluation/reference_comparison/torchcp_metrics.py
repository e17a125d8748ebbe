"""TorchCP's metrics of sets and criteria of p-values beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from services.uncertainty.conformal.evaluation.reference_comparison.findings import (
    TORCHCP,
    Finding,
    Material,
    difference,
    tensor,
)
from services.uncertainty.conformal.methods import scores as own
from services.uncertainty.conformal.methods.classification.calibration import Calibration, calibrate
from services.uncertainty.conformal.methods.group_scores import p_values
from services.uncertainty.conformal.methods.metrics import set_metrics
from services.uncertainty.conformal.methods.metrics.efficiency_criteria import criteria


def compare_metrics(material: Material) -> Iterator[Finding]:
    """All metrics, once with a class absent."""
    from torchcp.classification.utils.metrics import Metrics

    ask = Metrics()
    calibration = calibrate(own.THR(), material.logits, material.labels)
    sets = calibration.sets(material.tests, 0.1)
    labels, given = material.test_labels, (tensor(sets.astype(np.int64)), tensor(material.test_labels))
    pairs: dict[str, tuple[float, Any]] = {
        "coverage": (set_metrics.coverage(sets, labels), ask("coverage_rate")(*given)),
        "average size": (set_metrics.average_size(sets), ask("average_size")(*given)),
        "CovGap": (set_metrics.coverage_gap(sets, labels, 0.1), ask("CovGap")(*given, 0.1, 20)),
        "VioClasses": (set_metrics.violated_classes(sets, labels, 0.1), ask("VioClasses")(*given, 0.1, 20)),
        "SSCV": (set_metrics.size_stratified_violation(sets, labels, 0.1), ask("SSCV")(*given, 0.1)),
        "DiffViolation": (
            set_metrics.difficulty_violation(material.tests, sets, labels, 0.1),
            ask("DiffViolation")(tensor(material.tests), *given, 0.1)[0],
        ),
        "singleton hit ratio": (set_metrics.singletons(sets, labels).right, ask("singleton_hit_ratio")(*given)),
        "macro coverage, every class present": (
            set_metrics.macro_coverage(sets, labels),
            ask("coverage_rate")(*given, coverage_type="macro", num_classes=20),
        ),
    }
    absent = labels < 19
    pairs["macro coverage, one class absent"] = (
        set_metrics.macro_coverage(sets[absent], labels[absent]),
        ask("coverage_rate")(given[0][absent], given[1][absent], coverage_type="macro", num_classes=20),
    )
    for name, (ours, theirs) in pairs.items():
        gap = difference(ours, theirs)
        note = (
            "absent classes count as coverage 0" if "absent" in name else "computed in float32" if gap > 1e-12 else ""
        )
        yield Finding(TORCHCP, name, gap, note)
    yield from _criteria(material, calibration, ask)


def _criteria(material: Material, calibration: Calibration, ask: Any) -> Iterator[Finding]:
    scores = calibration.score.of_all(material.tests)
    values = p_values(calibration.cells.compare(scores, np.zeros((1, 1), np.intp)))
    found = criteria(values, material.test_labels, 0.1)
    ready = tensor(calibration.cells.scores), tensor(scores)
    labels = tensor(material.test_labels)
    pairs = {
        "S": (found.S, ask("pvalue_criterion_S")(*ready)),
        "N": (found.N, ask("pvalue_criterion_N")(*ready, 0.1)),
        "U": (found.U, ask("pvalue_criterion_U")(*ready)),
        "F": (found.F, ask("pvalue_criterion_F")(*ready)),
        "M": (found.M, ask("pvalue_criterion_M")(*ready, 0.1)),
        "OU": (found.observed_unconfidence, ask("pvalue_criterion_OU")(*ready, labels)),
        "OF": (found.observed_fuzziness, ask("pvalue_criterion_OF")(*ready, labels)),
        "OM": (found.observed_multiple, ask("pvalue_criterion_OM")(*ready, labels, 0.1)),
        "OE": (found.observed_excess, ask("pvalue_criterion_OE")(*ready, labels, 0.1)),
    }
    for name, (ours, theirs) in pairs.items():
        gap = difference(ours, theirs)
        yield Finding(TORCHCP, f"criterion {name}", gap, "computed in float32" if gap > 1e-12 else "")
