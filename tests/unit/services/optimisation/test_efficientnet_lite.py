"""The family of networks, by the figures that were published of it."""

from __future__ import annotations

import pytest
import torch

from services.optimisation.efficientnet_lite import LITE2, STAGES, EfficientNetLite, Stage


@pytest.mark.parametrize(("stages", "parameters"), [(STAGES, 4_652_008), (LITE2, 6_092_072)])
def test_networks_have_the_published_number_of_parameters(stages: tuple[Stage, ...], parameters: int) -> None:
    with torch.device("meta"):
        network = EfficientNetLite(stages)
    assert sum(one.numel() for one in network.parameters()) == parameters


@torch.no_grad()
def test_the_parts_of_a_network_are_the_network() -> None:
    network = EfficientNetLite().eval()
    pictures = torch.rand(1, 3, 64, 64)
    found = []
    for stage in (5, 7):
        first, rest = network.split(stage)
        found.append(rest(first(pictures)))
    assert first(pictures).shape == (1, 320, 2, 2)
    torch.testing.assert_close(found[0], found[1])
    features = torch.relu(network._bn1(network._conv_head(found[0]))).clamp(max=6)
    torch.testing.assert_close(network._fc(features.mean(dim=(2, 3))), network(pictures))
