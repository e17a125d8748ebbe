"""The networks: parameters to the digit, shapes of every map, and what each variant leaves out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from services.medical.chest_xray.training.networks.dense_encoder import DenseEncoder
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.networks.options import NetworkOptions, options_of
from services.optimisation.efficientnet_lite import EfficientNetLite
from tests.unit.services.medical.chest_xray.training.conftest import SMALL, make_network


def count(*modules: nn.Module | None) -> int:
    return sum(one.numel() for module in modules if module is not None for one in module.parameters())


def test_the_published_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = ChestXrayNetwork(NetworkOptions())
    assert count(network.second) == 25_294_016
    assert count(network.decoder) == 23_086_080
    assert count(network.attention) == 37_121
    assert count(network.fusion) == 127_235
    assert count(network.first, network.classifier) == 18_098_691
    assert count(network) == 66_643_143


def test_taps_and_maps_at_full_size_have_the_shapes_of_the_paper_sheet() -> None:
    with torch.device("meta"):
        network = ChestXrayNetwork(NetworkOptions())
        films = torch.empty(1, 1, 320, 256)
        maps = network.encode(films)
        assert network.second is not None
        assert network.decoder is not None
        skips = network.second(films)
        decoded = network.decoder(maps.coarse, skips)
    assert maps.coarse.shape == maps.features.shape == (1, 1920, 10, 8)
    assert [tuple(one.shape[1:]) for one in skips] == [
        (64, 320, 256), (128, 160, 128), (256, 80, 64), (512, 40, 32), (1024, 20, 16),
    ]  # fmt: skip
    assert tuple(decoded[0].shape) == (1, 512, 20, 16)
    assert tuple(decoded[-1].shape) == (1, 64, 320, 256)


@pytest.mark.parametrize("first", ["densenet", "lite0"])
@pytest.mark.parametrize("stride", [1, 2])
def test_small_networks_answer_films_of_the_paper_size(first: str, stride: int) -> None:
    options = options_of({"first": first, "stride": stride, "growth": 4, "blocks": [1, 1, 1, 1], "initial": 8,
                          "filters": 2, "opacity": True})  # fmt: skip
    with torch.no_grad():
        answer = make_network(options)(torch.rand(2, 1, 320, 256))
    assert answer.logits.shape == answer.encoder_logits.shape == (2, 3)
    assert answer.attention_logits is not None
    assert answer.attention_logits.shape == (2, 320, 256)
    attention = answer.attention_logits.flatten(1).softmax(dim=1)
    assert torch.allclose(attention.sum(dim=1), torch.ones(2), atol=1e-4)
    assert bool((attention >= 0).all())
    assert answer.features.shape[2:] == (10, 8)
    assert answer.opacity is not None
    assert answer.opacity.shape == (2,)


def test_both_taps_of_the_densenet_differ_by_the_last_normalisation_alone() -> None:
    network = make_network()
    with torch.no_grad():
        maps = network.encode(torch.rand(1, 1, 64, 64))
        assert isinstance(network.first, DenseEncoder)
        norm = network.first.features.get_submodule("norm5")
        assert not torch.equal(maps.coarse, maps.features)
        assert torch.equal(norm(maps.coarse), maps.features)
    assert bool((maps.features < 0).any())


def test_the_lite_encoder_gives_what_the_whole_classifier_pools() -> None:
    torch.manual_seed(0)
    published = EfficientNetLite().eval()
    network = ChestXrayNetwork(NetworkOptions(first="lite0", filters=2, size=(64, 64)), published.state_dict()).eval()
    films = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        pooled = network.encode(films).features.mean(dim=(2, 3))
        assert torch.allclose(published._fc(pooled), published(films.expand(-1, 3, -1, -1)), atol=1e-5)


def test_ablations_leave_an_encoder_out() -> None:
    films = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        first = make_network(replace(SMALL, second=False))(films)
        second = make_network(replace(SMALL, first="none"))(films)
    assert first.attention_logits is None
    assert torch.equal(first.logits, first.encoder_logits)
    assert second.attention_logits is not None
    assert second.pooled.shape == (2, 16 * 4 + 4)


@pytest.mark.parametrize(
    "wrong",
    [{"size": (100, 64)}, {"first": "none", "second": False}, {"blocks": (1, 1)}, {"trained_stages": 7}],
)
def test_options_that_make_no_network_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"size|encoder|DenseNet|trained_stages"):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


def test_lower_precision_is_for_training_alone() -> None:
    network = make_network(replace(SMALL, first="lite0"))
    films = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        plain = network(films).attention_logits
        network.lower_precision = True
        assert torch.equal(network(films).attention_logits, plain)
        for part in (network.second, network.decoder, network.attention):
            assert part is not None
            part.train()
        lower = network(films).attention_logits
    assert lower.dtype == torch.float32
    assert not torch.equal(lower, plain)
