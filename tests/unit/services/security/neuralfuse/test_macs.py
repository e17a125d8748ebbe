"""Multiply-accumulates of graphs: beside torch's own counter, the published figures, and sums done by hand."""

from __future__ import annotations

import io
from typing import Any, cast

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from services.security.neuralfuse.energy import BASE_COUNTS, GENERATOR_COUNTS
from services.security.neuralfuse.macs import UncountableGraph, count_macs
from services.security.neuralfuse.training.base_networks import VGG11, ResNet18
from services.security.neuralfuse.training.generators import GENERATORS
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork

pytestmark = pytest.mark.filterwarnings(  # of the exporter
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:Constant folding:UserWarning"
)


def plain(network: nn.Module) -> nn.Module:
    """The same layers without quantisation, whose gradient rule the exporter does not know."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.__class__ = nn.Conv2d
        elif isinstance(module, nn.ConvTranspose2d):
            module.__class__ = nn.ConvTranspose2d
    return network


def exported(network: nn.Module, side: int = 32) -> onnx.ModelProto:
    stream = io.BytesIO()
    torch.onnx.export(
        network.eval(),
        (torch.zeros(1, 3, side, side),),
        cast("Any", stream),  # its types know paths alone
        input_names=["pictures"],
        output_names=["out"],
        dynamic_axes={"pictures": {0: "batch", 2: "height", 3: "width"}},
        opset_version=17,
        dynamo=False,
    )
    return onnx.load_model_from_string(stream.getvalue())


def torch_macs(network: nn.Module, side: int = 32) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side))
    return float(counter.get_total_flops()) / 2


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_have_the_published_macs(name: str) -> None:
    """Ours leave out normalisation and activations, which ptflops adds: 1 % of the large ones, 6 % of the smallest.

    It also lets transposed convolutions of the UNets write the row and column on each side that their padding cuts off.
    """
    counted = count_macs(exported(plain(GENERATORS[name]())), height=32, width=32)
    published = GENERATOR_COUNTS[name].macs
    assert 0.93 * published < counted < published


@pytest.mark.parametrize("name", ["ConvL", "ConvS"])
@pytest.mark.parametrize("side", [32, 64])
def test_generators_without_transposed_convolutions_have_what_torch_counts(name: str, side: int) -> None:
    network = plain(GENERATORS[name]())
    assert count_macs(exported(network), height=side, width=side) == torch_macs(network, side)


@pytest.mark.parametrize(("name", "make"), [("vgg11", VGG11), ("resnet18", ResNet18)])
def test_classifiers_have_what_torch_counts_and_the_published_macs(name: str, make: Any) -> None:
    network = make(classes=10)
    counted = count_macs(exported(PerturbedNetwork(network).network), height=32, width=32)
    assert counted == torch_macs(network)
    assert counted == pytest.approx(BASE_COUNTS[name].macs, rel=0.01)


def graph(nodes: list[onnx.NodeProto], shapes: dict[str, list[Any]], weights: dict[str, list[int]]) -> onnx.ModelProto:
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    constants = [
        helper.make_tensor(name, TensorProto.INT8, dims, bytes(_size(dims)), raw=True) for name, dims in weights.items()
    ]
    made = helper.make_graph(nodes, "g", [values["x"]], [values["y"]], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _size(dims: list[int]) -> int:
    size = 1
    for one in dims:
        size *= one
    return size


def test_weights_behind_a_dequantisation_are_counted() -> None:
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0])
    model = graph(
        [
            helper.make_node("DequantizeLinear", ["w", "scale"], ["kernel"]),
            helper.make_node("Conv", ["x", "kernel"], ["c"], group=3, pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("DequantizeLinear", ["v", "scale"], ["head"]),
            helper.make_node("Gemm", ["f", "head"], ["y"], transB=1),
        ],
        {"x": ["batch", 3, "h", "w"], "y": ["batch", 5]},
        {"w": [6, 1, 3, 3], "v": [5, 6]},
    )
    model.graph.initializer.append(scale)
    assert count_macs(model, height=16, width=8) == 6 * 8 * 4 * 9 + 5 * 6


def test_a_shape_that_cannot_be_told_is_named() -> None:
    model = graph(
        [
            helper.make_node("NonZero", ["x"], ["z"]),
            helper.make_node("Cast", ["z"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["f", "f"], ["y"]),
        ],
        {"x": ["batch", 3, "h", "w"], "y": ["a", "b"]},
        {},
    )
    with pytest.raises(UncountableGraph, match="shape of f"):
        count_macs(model, height=8, width=8)
