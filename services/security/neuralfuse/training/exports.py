"""Networks as ONNX files: classifiers with int8 weights as they lie in memory, and F.

All take RGB pictures in [0, 1]; the scaling to [-1, 1] that the networks are trained with is part of the graph.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from services.security.bit_errors.quantisation import QuantisedTensor
from services.security.neuralfuse.training.base_networks import BASE_NETWORKS
from services.security.neuralfuse.training.generators import Fuse
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork, StoredWeights
from services.security.neuralfuse.training.quantised_layers import (
    QuantisedConv2d,
    QuantisedConvTranspose2d,
    fake_quantise,
)

OPSET = 18
_NETWORK = "network.network."
"""Where `_FromUnit` and `PerturbedNetwork` have the classifier."""


class _FromUnit(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.network(pictures * 2 - 1)
        return logits


class _FromUnitToUnit(_FromUnit):
    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(pictures) * 0.5 + 0.5


def export_base(base: PerturbedNetwork) -> bytes:
    """A classifier `pictures` -> `logits` whose int8 weights go through DequantizeLinear to their layers.

    Each output channel has a scale of its own, since batch normalisation is folded into it; the integers are the ones
    of the memory.
    """
    base.restore()
    model = _export(_FromUnit(base), "logits", sides=False)
    for one in base.stored:
        _store(model, f"{_NETWORK}{one.name}.weight", one)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def export_fuse(fuse: Fuse) -> bytes:
    """F as a graph `pictures` -> `transformed`, sides multiples of 8, weights rounded to 8 bits, stored as floats."""
    plain = copy.deepcopy(fuse).eval()
    _round_weights(plain)
    model = _export(_FromUnitToUnit(plain), "transformed", sides=True)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def read_base(file: Path, network: str) -> PerturbedNetwork:
    """The classifier of an exported file, as the trainer of generators needs it.

    Args:
        file: what `export_base` wrote.
        network: its name in `BASE_NETWORKS`.
    """
    graph = onnx.load(file).graph
    arrays = {one.name: numpy_helper.to_array(one).copy() for one in graph.initializer}
    # By the wiring: of equal biases the exporter keeps one, under several names.
    arrays |= {node.output[0]: arrays[node.input[0]] for node in graph.node if node.op_type == "Identity"}
    biases = {node.input[1]: arrays[node.input[2]] for node in graph.node if node.op_type in {"Conv", "Gemm"}}
    base = PerturbedNetwork(BASE_NETWORKS[network]())
    stored = []
    for one in base.stored:
        weight = f"{_NETWORK}{one.name}.weight"
        one.bias.data.copy_(torch.from_numpy(biases[f"{weight}.read"]))
        scales = torch.from_numpy(arrays[f"{weight}.scale"])
        stored.append(replace(one, tensor=QuantisedTensor(arrays[weight], 1.0), scales=scales))
    base.stored = stored
    return base.restore()


def _export(module: nn.Module, output: str, *, sides: bool) -> onnx.ModelProto:
    axes = {0: "batch"} | ({2: "height", 3: "width"} if sides else {})
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.to(memory_format=torch.contiguous_format).eval(),  # type: ignore[call-overload]
            (torch.rand(2, 3, 32, 32),),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["pictures"],
            output_names=[output],
            dynamic_axes={"pictures": axes, output: axes if sides else {0: "batch"}},
        )
        return onnx.load(file)


def _store(model: onnx.ModelProto, name: str, stored: StoredWeights) -> None:
    """Let the layer read what is in memory in the place of float weights."""
    graph = model.graph
    floats = next(one for one in graph.initializer if one.name == name)
    floats.CopyFrom(numpy_helper.from_array(stored.tensor.values, name))
    scales = stored.scales.numpy().astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
    read = f"{name}.read"
    for node in graph.node:
        for index, consumed in enumerate(node.input):
            if consumed == name:
                node.input[index] = read
    graph.node.insert(0, helper.make_node("DequantizeLinear", [name, f"{name}.scale"], [read], axis=0))


@torch.no_grad()
def _round_weights(module: nn.Module) -> None:
    """Put plain layers with rounded weights in the place of quantised ones."""
    for child in module.children():
        if isinstance(child, QuantisedConv2d):
            child.weight.copy_(fake_quantise(child.weight))
            child.__class__ = nn.Conv2d  # type: ignore[assignment]
        elif isinstance(child, QuantisedConvTranspose2d):
            child.weight.copy_(fake_quantise(child.weight))
            child.__class__ = nn.ConvTranspose2d  # type: ignore[assignment]
        else:
            _round_weights(child)
