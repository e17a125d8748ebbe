from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.uncertainty.explanation.networks.graph import Branch, Convolution, Head, Junction, Network
from services.uncertainty.explanation.relevance.propagation import epsilon_relevance, gradient, positive_relevance
from services.uncertainty.explanation.training.torch_operations import TorchOperations, forward
from tests.unit.services.uncertainty.explanation import example_networks as networks
from tests.unit.services.uncertainty.explanation.relevance.test_rules import NETWORKS, pictures

BIASED = {name: NETWORKS[name] for name in NETWORKS if name not in {"3x3 without bias", "inverted residuals"}}


def head_weight(network: Network, label: int) -> torch.Tensor:
    return torch.from_numpy(network.head.weight[[label]])[:, :, None, None]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_gradient_is_that_of_autograd(network: Network) -> None:
    images = pictures(network).requires_grad_()
    values = forward(network, images)
    (expected,) = torch.autograd.grad(values["logits"][:, 1].sum(), images)
    found = gradient(TorchOperations(), network, values=values, weight=head_weight(network, 1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def without_bias(network: Network) -> Network:
    def bare(branch: Branch) -> Branch:
        if branch.convolution is None:
            return branch
        old = branch.convolution
        return replace(branch, convolution=replace(old, bias=np.zeros_like(old.bias)))

    junctions = tuple(Junction(j.name, j.output, tuple(map(bare, j.branches))) for j in network.junctions)
    head = Head(network.head.source, network.head.weight, np.zeros_like(network.head.bias), "logits")
    return Network(network.input, network.sizes, junctions, head)


@pytest.mark.parametrize("network", BIASED.values(), ids=list(BIASED))
def test_epsilon_rule_is_gradient_times_input_in_networks_without_bias(network: Network) -> None:
    """Ancona et al. 2018, proposition 1, for epsilon towards zero."""
    network = without_bias(network)
    images = pictures(network)
    values = forward(network, images)
    weight = head_weight(network, 0)
    expected = gradient(TorchOperations(), network, values=values, weight=weight) * images
    found = epsilon_relevance(TorchOperations(), network, values=values, weight=weight)
    torch.testing.assert_close(found.sum(dim=1), expected.sum(dim=1), rtol=0.02, atol=2e-3)


DENSE = {name: NETWORKS[name] for name in NETWORKS if name != "inverted residuals"}


@pytest.mark.parametrize("network", DENSE.values(), ids=list(DENSE))
def test_positive_rule_loses_nothing(network: Network) -> None:
    """It has no bias to give relevance to: the input adds up to what the head gave, w . mean(x).

    Not so in depthwise convolutions, where few contributions reach a channel: one that only its bias switches on has
    nobody to pass its relevance to.
    """
    images = pictures(network)
    values = forward(network, images)
    weight = head_weight(network, 2)
    found = positive_relevance(TorchOperations(), network, values=values, weight=weight)
    given = (values[network.head.source] * weight).mean(dim=(2, 3)).sum(dim=1)
    # A position that only negative contributions reach has nobody to pass its relevance to.
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), given, rtol=0.02, atol=0.02)


def test_positive_rule_by_hand() -> None:
    """z+ of two pixels (1, 2) under the kernel (3, -4) is 3; the first pixel gets everything."""
    weight = np.array([[[[3.0, -1.0]]]], np.float32)
    first = Junction("z", "h", (Branch("x", Convolution(weight, np.zeros(1, np.float32))),))
    head = Head("h", np.ones((1, 1), np.float32), np.zeros(1, np.float32), "logits")
    network = Network("x", {"x": (1, 2), "h": (1, 1)}, (first,), head)
    values = forward(network, torch.tensor([[[[1.0, 2.0]]]]))
    found = positive_relevance(TorchOperations(), network, values=values, weight=torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(found.reshape(-1), torch.tensor([1.0, 0.0]), rtol=1e-5, atol=1e-6)


def test_networks_of_the_tests_are_not_trivial() -> None:
    values = forward(networks.residual(), pictures(networks.residual()))
    assert all(0.2 < float((values[f"h{index}"] > 0).float().mean()) < 0.9 for index in range(1, 6))
    mobile = networks.inverted_residuals()
    values = forward(mobile, pictures(mobile))
    for junction in mobile.junctions:
        if junction.ceiling is not None:
            cut_off = float((values[junction.name] > junction.ceiling).float().mean())
            assert 0.03 < cut_off < 0.7, f"{junction.output}: {cut_off}"
