from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.uncertainty.explanation.networks.graph import Branch, Convolution, Head, Junction, MaxPool, Network
from services.uncertainty.explanation.relevance.rules import backward, pooled
from services.uncertainty.explanation.training import naive
from services.uncertainty.explanation.training.torch_operations import TorchOperations, explain, forward
from tests.unit.services.uncertainty.explanation import example_networks as networks

NETWORKS = {
    "3x3": networks.chain(),
    "3x3 without bias": networks.chain(bias=False),
    "3x3 stride 2": networks.chain(stride=2),
    "1x1": networks.chain(kernel=1),
    "1x1 stride 2": networks.chain(kernel=1, stride=2),
    "5x5": networks.chain(kernel=5),
    "7x7 stride 2": networks.chain(kernel=7, stride=2),
    "pool 2/2": networks.pooling(),
    "pool 3/2 padded": networks.pooling(kernel=3, stride=2, padding=1),
    "residual": networks.residual(),
    "inverted residuals": networks.inverted_residuals(),
}


def pictures(network: Network, *, count: int = 2, seed: int = 5) -> torch.Tensor:
    channels = next(b.convolution for b in network.junctions[0].branches if b.convolution).weight.shape[1]
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=(count, channels, *network.sizes["x"])).astype(np.float32))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_equals_the_definition(network: Network) -> None:
    images, classes = pictures(network), torch.tensor([0, 2])
    logits, relevance = explain(network, images, classes)
    for index, label in enumerate(classes.tolist()):
        values = naive.run(network, images[index].double().numpy())
        np.testing.assert_allclose(logits[index], values["logits"], atol=1e-5)
        features, head = values[network.head.source], network.head
        top = (np.tensordot(head.weight[label], features, axes=1) + head.bias[label]) / features[0].size
        expected = naive.pass_down(network, values, top)
        for name in network.layers():
            scale = max(1.0, float(np.abs(expected[name]).max()))
            np.testing.assert_allclose(relevance[name][index, 0], expected[name], atol=1e-5 * scale)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_relevance_is_conserved(network: Network) -> None:
    """Every layer of a chain adds up to the logit; with shortcuts, the input does."""
    logits, relevance = explain(network, pictures(network), torch.tensor([1, 1]))
    torch.testing.assert_close(relevance["x"].sum(dim=(1, 2, 3)), logits[:, 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_shares_of_a_position_add_up_to_one(network: Network) -> None:
    """The effective receptive field of any single position has the sum 1."""
    images, operations = pictures(network, count=1), TorchOperations()
    values = forward(network, images)
    top = network.head.source
    one = torch.zeros(1, 1, *network.sizes[top])
    one[0, 0, 1, 2] = 1
    field = backward(operations, network, values=values, relevance=one, layer=top)["x"]
    assert float(field.sum()) == pytest.approx(1, abs=1e-4)


def test_pooling_is_that_of_torch() -> None:
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 4, 9, 7)).astype(np.float32))
    for pool in (MaxPool(2, 2), MaxPool(3, 2, 1), MaxPool(3, 1, 1)):
        expected = torch.nn.functional.max_pool2d(values, pool.kernel, pool.stride, pool.padding)
        torch.testing.assert_close(pooled(TorchOperations(), values, pool, channels=4), expected)


def test_one_channel_without_bias_is_layerwise_relevance_propagation() -> None:
    """With one channel the ratio is z_ij / z_j: LRP-0 (Bach et al. 2015), which is gradient times input."""
    random = np.random.default_rng(3)
    layers = [networks.convolution(random, 1, 1, bias=False) for _ in range(2)]
    junctions = (Junction("z1", "h1", (Branch("x", layers[0]),)), Junction("z2", "h2", (Branch("h1", layers[1]),)))
    head = Head("h2", np.ones((1, 1), np.float32), np.zeros(1, np.float32), "logits")
    network = Network("x", {"x": (6, 6), "h1": (6, 6), "h2": (6, 6)}, junctions, head)
    images = torch.from_numpy(random.normal(size=(1, 1, 6, 6)).astype(np.float32)).requires_grad_()
    logits, relevance = explain(network, images, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(logits[0, 0], images)
    torch.testing.assert_close(relevance["x"], gradient * images, rtol=1e-3, atol=1e-5)


def test_by_hand() -> None:
    """A 1x1 convolution on two positions: z = (3, 4) and (0, 5); the head sums 3 + 4 and 0 + 5, over two positions."""
    weight = np.array([[3.0], [4.0]], np.float32)[:, :, None, None]
    first = Junction("z", "h", (Branch("x", Convolution(weight, np.zeros(2, np.float32))),))
    head = Head("h", np.ones((1, 2), np.float32), np.zeros(1, np.float32), "logits")
    network = Network("x", {"x": (1, 2), "h": (1, 2)}, (first,), head)
    logits, relevance = explain(network, torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([0]))
    assert logits.tolist() == [[10.5]]
    assert relevance["x"].tolist() == [[[[3.5, 7.0]]]]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_dead_and_constant_pictures_give_numbers(network: Network) -> None:
    dead = pictures(network, count=3)
    dead[0], dead[1] = 0, 0.5
    dead[2, :, 2:5, 2:5] = 0
    without_bias = tuple(
        replace(junction, branches=tuple(_negative(branch) for branch in junction.branches))
        for junction in network.junctions
    )
    for subject in (network, replace(network, junctions=without_bias)):
        _, relevance = explain(subject, dead, torch.tensor([0, 1, 2]))
        assert all(bool(torch.isfinite(value).all()) for value in relevance.values())


def _negative(branch: Branch) -> Branch:
    """Every position dies: all pre-activations are negative."""
    if branch.convolution is None:
        return branch
    bias = np.full_like(branch.convolution.bias, -100)
    return replace(branch, convolution=replace(branch.convolution, bias=bias))


def test_relevance_can_be_differentiated() -> None:
    """Attacks on explanations need its gradient; checked against differences in double precision."""
    network = networks.residual()
    torch.set_default_dtype(torch.float64)
    try:
        images = pictures(network, count=1).double().requires_grad_()

        def top(value: torch.Tensor) -> torch.Tensor:
            return explain(network, value, torch.tensor([1]))[1]["x"][0, 0, :2, :2]

        assert torch.autograd.gradcheck(top, (images,), atol=1e-4)
    finally:
        torch.set_default_dtype(torch.float32)
