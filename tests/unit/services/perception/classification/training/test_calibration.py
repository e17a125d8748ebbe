from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from services.perception.classification.training.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)


def drawn(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sure by a known factor: classes are drawn from softmax(logits / temperature)."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (40_000, 6)).astype(np.float32)
    chances = softmax(logits / temperature, axis=1)
    return logits, (chances.cumsum(axis=1) < random.random((len(logits), 1))).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, classes = drawn(temperature)
    assert fit_temperature(logits, classes) == pytest.approx(temperature, rel=0.03)


def test_calibration_error_falls_to_noise_at_the_right_temperature() -> None:
    logits, classes = drawn(2.5)
    assert expected_calibration_error(logits, classes) > 0.1
    assert expected_calibration_error(logits, classes, 2.5) < 0.01


def test_by_hand() -> None:
    logits = np.log(np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4]], dtype=np.float32))
    classes = np.array([0, 1, 0])
    assert negative_log_likelihood(logits, classes) == pytest.approx(-np.log([0.8, 0.2, 0.6]).mean(), rel=1e-5)
    # Bins: two pictures of confidence 0.8, one of them right; one of 0.6, right.
    assert expected_calibration_error(logits, classes) == pytest.approx((2 * 0.3 + 0.4) / 3, rel=1e-5)
