"""Backbones: shapes, what is frozen, and that the taps are those of the published network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.detection.optimisation.backbones import BackboneOptions, LiteBody
from services.perception.detection.optimisation.feature_pyramid import Backbone, FeaturePyramid


@pytest.mark.parametrize("kind", ["lite0", "residual"])
@pytest.mark.parametrize("strides", [(8, 16, 32), (4, 8), (16,)])
def test_maps_have_their_strides(kind: str, strides: tuple[int, ...]) -> None:
    backbone = Backbone(BackboneOptions(kind=kind, strides=strides, channels=24))  # type: ignore[arg-type]
    maps = backbone(torch.rand(2, 3, 64, 96))
    assert [tuple(one.shape) for one in maps] == [(2, 24, 64 // stride, 96 // stride) for stride in strides]


@torch.no_grad()
def test_taps_are_the_features_of_the_network() -> None:
    network = EfficientNetLite().eval()
    body = LiteBody(BackboneOptions(), network.state_dict())
    pictures = torch.rand(1, 3, 64, 64)
    for found, stage in zip(body(pictures), (3, 5, 7), strict=True):
        torch.testing.assert_close(found, network.split(stage)[0](pictures))


def test_only_the_last_stages_are_trained_and_no_batch_normalisation() -> None:
    body = LiteBody(BackboneOptions(trained_stages=2)).train()
    before = {name: value.clone() for name, value in body.state_dict().items()}
    optimiser = torch.optim.SGD([one for one in body.parameters() if one.requires_grad], lr=0.1)
    sum(features.sum() for features in body(torch.rand(2, 3, 64, 64))[1:]).backward()
    optimiser.step()
    changed = {name for name, value in body.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("stages.5.", "stages.6.")) and "_bn" not in name for name in changed)
    norms = [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(module.training or module.weight.requires_grad for module in norms)


def test_without_trained_stages_maps_have_no_history() -> None:
    body = LiteBody(BackboneOptions(trained_stages=0))
    assert not any(features.requires_grad for features in body(torch.rand(1, 3, 32, 32)))


def test_a_residual_backbone_is_trained_whole() -> None:
    backbone = Backbone(BackboneOptions(kind="residual", widths=(8, 16, 16, 16)))
    sum(features.square().sum() for features in backbone(torch.rand(1, 3, 64, 64))).backward()
    assert all(one.grad is not None and bool(one.grad.abs().sum() > 0) for one in backbone.parameters())


@torch.no_grad()
def test_coarse_maps_reach_the_fine_ones() -> None:
    pyramid = FeaturePyramid((4, 8), 4)
    fine, coarse = torch.rand(1, 4, 8, 8), torch.rand(1, 8, 4, 4)
    one, other = pyramid((fine, coarse)), pyramid((fine, coarse + 1))
    assert not torch.allclose(one[0], other[0])
    torch.testing.assert_close(pyramid((fine + 1, coarse))[1], one[1])


@pytest.mark.parametrize("options", [{"strides": (8, 32)}, {"strides": (2, 4)}, {"strides": ()}, {"trained_stages": 8}])
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"strides|stages"):
        BackboneOptions(**options)  # type: ignore[arg-type]
