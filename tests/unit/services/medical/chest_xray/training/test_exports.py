"""The graph does what the network does, and its evidence is Grad-CAM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from services.medical.chest_xray.roles import ATTENTION, EVIDENCE, LOGITS, OPACITY
from services.medical.chest_xray.training.exports import (
    NETWORK_OUTPUTS,
    ServedNetwork,
    differences,
    export_network,
    output_shapes,
    run_graph,
    run_network,
)
from services.medical.chest_xray.training.networks.options import NetworkOptions
from services.medical.chest_xray.training.stages.run import Calibration
from services.training.half_precision import halve_weights
from tests.unit.services.medical.chest_xray.training.conftest import SMALL, make_network

CALIBRATION = Calibration(temperature=1.7, opacity_temperature=2.5)
VARIANTS = {
    "densenet": SMALL,
    "lite0, half resolution": replace(SMALL, first="lite0", stride=2, filters=4),
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_graph_follows_the_network_for_any_number_of_films(options: NetworkOptions) -> None:
    network = make_network(options)
    content = export_network(network, CALIBRATION)
    random = np.random.default_rng(0)
    for count in (1, 2, 5):
        films = random.random((count, 1, *options.size), dtype=np.float32)
        found, wanted = run_graph(content, films), run_network(network, CALIBRATION, films)
        assert max(differences(found, wanted).values()) < 1e-4
        shapes = output_shapes(network)
        for name in NETWORK_OUTPUTS:
            assert found[name].shape == (count, *shapes[name][1:])
            assert found[name].dtype == np.float32
        assert np.allclose(found[ATTENTION].sum(axis=(1, 2)), 1, atol=1e-4)
        assert found[ATTENTION].min() >= 0


def test_weights_in_half_precision_move_outputs_little() -> None:
    network = make_network()
    whole = export_network(network, CALIBRATION)
    halved = halve_weights(whole)
    films = np.random.default_rng(0).random((2, 1, *SMALL.size), dtype=np.float32)
    rounded = differences(run_graph(halved, films), run_network(network, CALIBRATION, films))
    assert len(halved) < len(whole)
    assert set(rounded) == set(NETWORK_OUTPUTS)
    assert 0 < max(rounded.values()) < 0.05


def test_temperatures_divide_logits() -> None:
    network, films = make_network(), np.random.default_rng(0).random((2, 1, *SMALL.size), dtype=np.float32)
    plain, divided = run_network(network, Calibration(), films), run_network(network, CALIBRATION, films)
    assert np.allclose(plain[LOGITS] / 1.7, divided[LOGITS], atol=1e-6)
    assert np.allclose(plain[OPACITY] / 2.5, divided[OPACITY], atol=1e-6)
    assert np.allclose(plain[EVIDENCE] / 1.7, divided[EVIDENCE], atol=1e-6)


@pytest.mark.parametrize("index", range(3))
def test_evidence_is_grad_cam_by_autograd(index: int) -> None:
    network = make_network()
    assert network.fusion is not None
    answer = network(torch.rand(2, 1, *SMALL.size))
    features = answer.features.detach().requires_grad_(True)
    finest = answer.pooled[:, features.shape[1] :].detach()
    pooled = torch.cat((features.mean(dim=(2, 3)), finest), dim=1)
    score = network.fusion(pooled)[:, index].sum() / CALIBRATION.temperature
    (gradient,) = torch.autograd.grad(score, features)
    # Grad-CAM's weights are means of the gradient over places; those here are sums, the derivatives of the means.
    wanted = (gradient.sum(dim=(2, 3), keepdim=True) * features).sum(dim=1)
    evidence = ServedNetwork(network, CALIBRATION).evidence(answer)[:, index]
    assert torch.allclose(evidence, wanted, atol=1e-5)
    assert float(evidence.detach().abs().max()) > 1e-3


@pytest.mark.parametrize("left_out", [{"second": False}, {"first": "none"}])
def test_an_ablation_gives_what_it_has(left_out: dict[str, Any]) -> None:
    network = make_network(replace(SMALL, **left_out))
    films = np.random.default_rng(0).random((2, 1, *SMALL.size), dtype=np.float32)
    found, wanted = run_graph(export_network(network, CALIBRATION), films), run_network(network, CALIBRATION, films)
    lacking = {ATTENTION} if "second" in left_out else set()
    assert set(found) == set(wanted) == set(NETWORK_OUTPUTS) - lacking
    assert max(differences(found, wanted).values()) < 1e-4


def test_logits_of_the_first_encoder_alone_and_their_evidence() -> None:
    network, films = make_network(), np.random.default_rng(0).random((2, 1, *SMALL.size), dtype=np.float32)
    found = run_graph(export_network(network, CALIBRATION, head="encoder"), films)
    with torch.no_grad():
        answer = network(torch.from_numpy(films))
    assert np.allclose(found[LOGITS], answer.encoder_logits.numpy() / 1.7, atol=1e-5)
    # A linear classifier's evidence is its logit but for the bias.
    bias = network.classifier.bias.detach().numpy() / 1.7
    assert np.allclose(found[EVIDENCE].mean(axis=(2, 3)) + bias, found[LOGITS], atol=1e-5)


def test_calibration_stands_in_the_file() -> None:
    session = onnxruntime.InferenceSession(
        export_network(make_network(), CALIBRATION), providers=["CPUExecutionProvider"]
    )
    stated = session.get_modelmeta().custom_metadata_map
    assert float(stated["temperature"]) == 1.7
    assert stated["classes"] == "normal,chf_like,pneumonia"
