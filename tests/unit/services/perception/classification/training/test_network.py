from __future__ import annotations

import pytest
import torch
from torch import nn

from services.perception.classification.training.network import WIDTHS, ResNet18

SHARING_RATIO_RULES = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear, nn.Identity)


@pytest.mark.parametrize(("width", "expected"), [("full", 11_190_891), ("half", 2_806_091)])
def test_parameters(width: str, expected: int) -> None:
    # The full one: 11,173,962 are published for ten classes (kuangliu/pytorch-cifar), and 33 more are 513 each.
    assert sum(value.numel() for value in ResNet18(width=WIDTHS[width]).parameters()) == expected


def test_only_layers_that_a_sharing_ratio_is_defined_for() -> None:
    leaves = [module for module in ResNet18(width=4).modules() if not list(module.children())]
    assert all(isinstance(module, SHARING_RATIO_RULES) for module in leaves)


def test_shapes() -> None:
    network = ResNet18(width=4).eval()
    pictures = torch.rand(2, 3, 32, 32)
    assert network.features(pictures).shape == (2, 32, 4, 4)
    assert network(pictures).shape == (2, 43)


def test_the_head_is_linear_in_the_pooled_features() -> None:
    network = ResNet18(width=4).eval()
    pictures = torch.rand(2, 3, 32, 32)
    by_position = torch.einsum("bchw,kc->bkhw", network.features(pictures), network.fc.weight)
    torch.testing.assert_close(by_position.mean(dim=(2, 3)) + network.fc.bias, network(pictures))
