from __future__ import annotations

import numpy as np
import pytest
import torch

from services.medical.low_dose_ct.training.data import (
    GaussianNoisePairs,
    Pair,
    ReconstructionPairs,
    mean_error_level,
    symmetry,
)


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def test_the_eight_symmetries_differ() -> None:
    patch = np.arange(9, dtype=np.float32).reshape(3, 3)
    assert len({symmetry(patch, index).tobytes() for index in range(8)}) == 8


def test_gaussian_noise_has_the_level_that_the_network_is_told() -> None:
    photographs = [np.full((80, 90), 0.5, dtype=np.float32)]
    noisy, levels, clean = GaussianNoisePairs(photographs, side=64, batch=6)(generator())
    assert noisy.shape == clean.shape == (6, 1, 64, 64)
    assert noisy.dtype == levels.dtype == clean.dtype == torch.float32
    assert float(levels.max()) <= 50 / 255
    torch.testing.assert_close((noisy - clean).std(dim=(1, 2, 3)), levels, rtol=0.05, atol=1e-4)


def test_a_batch_depends_on_its_generator_only() -> None:
    draw = GaussianNoisePairs([generator().random((70, 70), dtype=np.float32)])
    for first, second in zip(draw(generator()), draw(generator()), strict=True):
        assert torch.equal(first, second)


def test_reconstruction_and_truth_are_cut_and_turned_alike() -> None:
    truth = generator().random((20, 24), dtype=np.float32)
    pair = Pair(truth=truth, reconstructions=np.stack([truth + 1, truth + 2]))
    noisy, levels, clean = ReconstructionPairs([pair], level=0.25, side=12, batch=16)(generator())
    offsets = (noisy - clean).round(decimals=4)
    assert set(offsets.flatten().tolist()) == {1.0, 2.0}
    assert levels.tolist() == [0.25] * 16


def test_mean_error_level_is_the_standard_deviation_of_the_error() -> None:
    truth = np.zeros((100, 100), dtype=np.float32)
    noise = generator().standard_normal((2, 100, 100)).astype(np.float32) * 0.03 + 0.5
    assert mean_error_level([Pair(truth=truth, reconstructions=noise)]) == pytest.approx(0.03, rel=0.02)
