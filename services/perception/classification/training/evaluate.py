"""Measures the released classifier on the official test set, and keeps its logits for who calibrates on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from services.perception.classification.training.calibration import (
    expected_calibration_error,
    negative_log_likelihood,
)
from shared.datasets.traffic_signs import Signs
from shared.runtime.models.sessions import OnnxModel

EVALUATION = Path(__file__).parent / "evaluation.json"
LOGITS = Path(__file__).parents[1] / "traffic-signs-test-logits.npz"
"""Logits float16 (12630, 43) and classes uint8 (12630,) of the official test set in its order: derived data of our own
network, so that conformal prediction can be tested without the pictures."""

PUBLISHED = {
    "linear discriminant analysis on HOG": 0.9568,
    "multi-scale convolutional network": 0.9831,
    "people, on average": 0.9884,
    "committee of convolutional networks": 0.9946,
}
"""Accuracies on the same test set (Stallkamp et al. 2012, Man vs. computer, table 2); all trained on all frames."""


def evaluate(model: OnnxModel, test: Signs) -> dict[str, Any]:
    """Accuracy with its interval, calibration before and after the temperature, and what goes wrong most.

    Args:
        model: the released model.
        test: the official test set.
    """
    logits = run(model, test)
    np.savez_compressed(LOGITS, logits=logits.astype(np.float16), classes=test.classes.astype(np.uint8))
    temperature = float(model.card.parameters["temperature"])  # type: ignore[arg-type]
    predicted = logits.argmax(axis=1)
    correct = predicted == test.classes
    interval = binomtest(int(correct.sum()), len(test)).proportion_ci(method="wilson")
    result = {
        "pictures": len(test),
        "accuracy": float(correct.mean()),
        "interval": [float(interval.low), float(interval.high)],
        "top5": float((np.argsort(-logits, axis=1)[:, :5] == test.classes[:, None]).any(axis=1).mean()),
        "balanced_accuracy": float(np.mean([correct[test.classes == label].mean() for label in range(43)])),
        "commonest_class": float(np.bincount(test.classes).max() / len(test)),
        "published": PUBLISHED,
        "calibration": {
            name: {
                "temperature": value,
                "negative_log_likelihood": negative_log_likelihood(logits, test.classes, value),
                "expected_calibration_error": expected_calibration_error(logits, test.classes, value),
            }
            for name, value in (("plain", 1.0), ("scaled", temperature))
        },
        "weakest": _weakest(predicted, test.classes),
    }
    EVALUATION.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def run(model: OnnxModel, signs: Signs, *, batch: int = 256) -> NDArray[np.float32]:
    """Logits (count, classes) of the exported graph."""
    pictures = signs.tensor()
    parts = [model.run({"pictures": pictures[start : start + batch]})[0] for start in range(0, len(signs), batch)]
    return np.concatenate(parts).astype(np.float32)


def _weakest(predicted: NDArray[np.int64], classes: NDArray[np.int64]) -> list[dict[str, float]]:
    """The five classes with the lowest accuracy."""
    rows = [
        {"class_id": label, "accuracy": float((predicted[classes == label] == label).mean())} for label in range(43)
    ]
    return sorted(rows, key=lambda row: row["accuracy"])[:5]
