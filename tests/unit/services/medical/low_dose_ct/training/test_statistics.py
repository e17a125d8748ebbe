from __future__ import annotations

import numpy as np
import pytest

from services.medical.low_dose_ct.training.statistics import bootstrap


def test_interval_of_independent_values_is_that_of_the_normal_approximation() -> None:
    values = list(np.random.default_rng(0).normal(3.0, 2.0, 400))
    interval = bootstrap(values, [str(index) for index in range(400)])
    half = 1.96 * np.std(values) / 20
    assert interval.mean == pytest.approx(np.mean(values))
    assert interval.low == pytest.approx(interval.mean - half, abs=0.03)
    assert interval.high == pytest.approx(interval.mean + half, abs=0.03)


def test_slices_of_one_patient_count_as_one_piece_of_evidence() -> None:
    values = [1.0] * 50 + [2.0] * 50
    by_slice = bootstrap(values, [str(index) for index in range(100)])
    by_patient = bootstrap(values, ["a"] * 50 + ["b"] * 50)
    assert by_patient.high - by_patient.low == pytest.approx(1.0)
    assert by_slice.high - by_slice.low < 0.25
