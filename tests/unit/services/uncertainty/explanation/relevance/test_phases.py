"""A convolution with a stride is the sum of those of its phases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.uncertainty.explanation.networks.graph import Convolution, Sides, Size
from services.uncertainty.explanation.relevance.phases import phases
from services.uncertainty.explanation.training.torch_operations import TorchOperations


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (11, 10)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 1, (1, 1)),
        (3, 2, (1, 1)),
        (1, 2, (0, 0)),
        (2, 2, (0, 0)),
        (3, 3, (1, 1)),
        (5, 4, (2, 2)),
        (3, 2, (2, 2)),
        (3, 2, (0, 0, 1, 1)),
        (5, 2, (1, 1, 2, 2)),
        (3, 1, (2, 0, 1, 2)),
        (5, 3, (0, 4, 3, 1)),
    ],
)
def test_phases_add_up_to_the_convolution(kernel: int, stride: int, padding: Size | Sides, size: Size) -> None:
    random, operations = np.random.default_rng(0), TorchOperations()
    weight = random.normal(size=(4, 3, kernel, kernel)).astype(np.float32)
    convolution = Convolution(weight, np.zeros(4, np.float32), stride=stride, padding=padding)
    value = torch.from_numpy(random.normal(size=(2, 3, *size)).astype(np.float32))
    views = phases(convolution, size)
    parts = [
        operations.phase(value, view.offset, stride=stride, size=view.size, below=size, channels=3) for view in views
    ]
    terms = [
        operations.convolve(part, view.weight, padding=view.padding) for part, view in zip(parts, views, strict=True)
    ]
    expected = operations.convolve(value, weight, stride=stride, padding=padding)
    torch.testing.assert_close(torch.stack(terms).sum(dim=0), expected, atol=1e-5, rtol=1e-5)
    assert all(min(*view.padding, *view.reversed_padding) >= 0 for view in views)


def test_a_phase_that_no_tap_reads_is_left_out_and_put_back_as_zeros() -> None:
    operations = TorchOperations()
    convolution = Convolution(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32), stride=2)
    assert [view.offset for view in phases(convolution, (5, 5))] == [(0, 0)]
    whole = operations.interleave([torch.ones(1, 1, 3, 3)], [(0, 0)], stride=2, size=(5, 5))
    assert whole.sum() == 9
    assert whole.shape == (1, 1, 5, 5)
