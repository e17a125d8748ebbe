from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from services.medical.low_dose_ct.training.losses import (
    absolute_error,
    anchored_dissimilarity,
    squared_error,
    structural_dissimilarity,
)


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.random((3, 40, 32))
    return truth, truth + 0.2 * random.standard_normal(truth.shape)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images)[:, None]


def test_structural_dissimilarity_is_that_of_scikit_image(images: tuple[np.ndarray, np.ndarray]) -> None:
    truth, noisy = images
    expected = [structural_similarity(t, n, data_range=t.max() - t.min()) for t, n in zip(truth, noisy, strict=True)]
    loss = structural_dissimilarity(as_tensor(noisy), as_tensor(truth))
    assert float(loss) == pytest.approx(1 - np.mean(expected), abs=1e-9)


def test_equal_images_lose_nothing(images: tuple[np.ndarray, np.ndarray]) -> None:
    truth = as_tensor(images[0])
    assert float(anchored_dissimilarity(truth, truth)) == pytest.approx(0, abs=1e-9)


def test_a_flat_offset_is_punished_by_the_anchor() -> None:
    flat = torch.full((1, 1, 16, 16), 0.5)
    flat[..., 0, 0] = 0.0
    offset = flat + 0.01
    anchored = anchored_dissimilarity(offset, flat) - structural_dissimilarity(offset, flat)
    assert float(anchored) == pytest.approx(5 * 0.01, rel=1e-4)


def test_plain_losses_have_their_closed_form() -> None:
    target, predicted = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, -1.0], [0.0, 2.0]]]])
    assert float(absolute_error(predicted, target)) == pytest.approx(1.0)
    assert float(squared_error(predicted, target)) == pytest.approx(150.0)
