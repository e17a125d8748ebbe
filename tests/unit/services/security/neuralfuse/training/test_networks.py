"""Generators and classifiers against the paper's tables, and what they compute with out of their memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from services.security.bit_errors.faults import FaultModel, draw_faults
from services.security.bit_errors.quantisation import quantise
from services.security.neuralfuse.training.base_networks import BASE_NETWORKS, VGG11, ResNet18
from services.security.neuralfuse.training.base_training import read_through
from services.security.neuralfuse.training.generator_training import CONSTANT_SHIFT, make_fuse
from services.security.neuralfuse.training.generators import GENERATORS, Fuse
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from services.security.neuralfuse.training.quantised_layers import QuantisedLinear, fake_quantise

# Paper, Table 7: parameters, and millions of multiply-accumulate operations at 32 x 32.
PUBLISHED = {
    "ConvL": (723_273, 80.5),
    "ConvS": (113_187, 10.34),
    "DeConvL": (647_785, 64.69),
    "DeConvS": (156_777, 22.44),
    "UNetL": (482_771, 41.41),
    "UNetS": (121_195, 10.58),
}


def parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def multiplications(network: nn.Module) -> float:
    """In millions, of one picture of 32 x 32, counted as the paper's tool counts.

    That is at the output's resolution for transposed convolutions too, which is what they write and not what they
    multiply: four times too many for a stride of 2. Without that the figures of DeConv and UNet differ from Table 7.
    """
    surplus: list[int] = []

    def note(layer: nn.ConvTranspose2d, given: tuple[Tensor]) -> None:
        rows, columns = given[0].shape[2:]
        surplus.append(layer.weight.numel() * rows * columns * (layer.stride[0] ** 2 - 1))

    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            module.register_forward_pre_hook(note)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, 32, 32))
    return (int(counter.get_total_flops()) / 2 + sum(surplus)) / 1e6


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_are_those_of_the_paper(name: str) -> None:
    count, millions = PUBLISHED[name]
    generator = GENERATORS[name]()
    assert parameters(generator) == count
    # The published figures have batch normalisation and activations in them.
    assert multiplications(generator) == pytest.approx(millions, rel=0.03)
    assert multiplications(generator) < millions


def test_classifiers_are_those_of_the_paper() -> None:
    assert parameters(VGG11(classes=10)) == 9_231_114
    assert parameters(ResNet18(classes=10)) == 11_173_962
    assert multiplications(VGG11(classes=10)) == pytest.approx(153.5, rel=0.01)
    assert multiplications(ResNet18(classes=10)) == pytest.approx(557.14, rel=0.01)


@pytest.mark.parametrize("name", [*GENERATORS, CONSTANT_SHIFT])
def test_transformed_pictures_stay_in_range_and_shape(name: str) -> None:
    torch.manual_seed(0)
    fuse = make_fuse(name).eval()
    sides = (32, 32) if name == CONSTANT_SHIFT else (24, 40)
    pictures = torch.rand(2, 3, *sides) * 2 - 1
    transformed = fuse(pictures)
    assert transformed.shape == pictures.shape
    assert transformed.min() >= -1
    assert transformed.max() <= 1


def test_f_is_the_clipped_sum() -> None:
    fuse = Fuse(nn.Hardtanh(-0.25, 0.25))
    pictures = torch.tensor([[[[-1.0, 0.1, 0.9]]]])
    torch.testing.assert_close(fuse(pictures), torch.tensor([[[[-1.0, 0.2, 1.0]]]]))


def test_rounding_passes_the_gradient_unchanged() -> None:
    weights = torch.tensor([0.5, -0.123, 1.0], requires_grad=True)
    rounded = fake_quantise(weights)
    (rounded * torch.tensor([1.0, 2.0, 3.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    assert weights.grad.tolist() == [1, 2, 3]
    expected = quantise(weights.detach().numpy()).dequantise()
    np.testing.assert_allclose(rounded.detach().numpy(), expected, rtol=1e-6)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = BASE_NETWORKS["resnet18-half"]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


@torch.no_grad()
def test_folding_and_errors_give_what_faulty_layers_give(network: nn.Module) -> None:
    pictures = torch.rand(4, 3, 32, 32) * 2 - 1
    perturbed = PerturbedNetwork(network)
    torch.testing.assert_close(perturbed(pictures), network(pictures), rtol=1e-4, atol=1e-5)
    faults = FaultModel(0.01)
    wrong = perturbed.perturb(faults, 50_000)(pictures)
    assert (wrong - network(pictures)).abs().max() > 0.01
    with read_through(network, faults, 50_000):
        torch.testing.assert_close(wrong, network(pictures), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(perturbed.restore()(pictures), network(pictures), rtol=1e-4, atol=1e-5)


def test_a_layer_computes_with_what_it_read_and_learns_what_it_wrote() -> None:
    layer = QuantisedLinear(4, 2)
    network = nn.Sequential(layer)
    tensor = quantise(layer.weight.detach().numpy())
    read = tensor.dequantise(draw_faults(FaultModel(1.0), 3, 8).read(tensor.values))
    with read_through(network, FaultModel(1.0), 3):
        outcome = network(torch.eye(4))
        outcome.sum().backward()
    np.testing.assert_allclose((outcome - layer.bias).detach().numpy(), read.T, rtol=1e-5, atol=1e-7)
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1] * 4] * 2
