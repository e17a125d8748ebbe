from __future__ import annotations

import pytest
import torch

from services.medical.low_dose_ct.training.network import WIDTHS, AnySize, DRUNet


@pytest.fixture
def network() -> DRUNet:
    torch.manual_seed(0)
    return DRUNet(WIDTHS["slim"]).eval()


@pytest.mark.parametrize(("width", "parameters"), [("full", 32_638_656), ("thin", 4_252_512), ("slim", 1_063_344)])
def test_parameter_counts_are_those_of_the_published_network_and_its_thinner_kin(width: str, parameters: int) -> None:
    with torch.device("meta"):
        network = DRUNet(WIDTHS[width])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_no_layer_has_a_bias(network: DRUNet) -> None:
    assert not [name for name, _ in network.named_parameters() if name.endswith("bias")]


def test_network_is_homogeneous_of_degree_one(network: DRUNet) -> None:
    image, level = torch.rand(2, 1, 16, 24), torch.tensor([0.1, 0.2])
    with torch.inference_mode():
        torch.testing.assert_close(network(3 * image, 3 * level), 3 * network(image, level))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (1, 1), (362, 40)])
def test_any_size_comes_back_at_its_own_size(network: DRUNet, height: int, width: int) -> None:
    with torch.inference_mode():
        clean = AnySize(network)(torch.rand(1, 1, height, width), torch.tensor([0.1]))
    assert clean.shape == (1, 1, height, width)


def test_padding_repeats_the_edge(network: DRUNet) -> None:
    image = torch.rand(1, 1, 14, 16)
    padded = torch.cat((image, image[:, :, -1:], image[:, :, -1:]), dim=2)
    level = torch.tensor([0.1])
    with torch.inference_mode():
        torch.testing.assert_close(AnySize(network)(image, level), network(padded, level)[:, :, :14])
