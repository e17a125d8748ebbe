"""Whole graphs: shapes folded, several inputs at a time, gradients, weights that stay as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from services.security.camouflage.optimisation.graphs.folding import UnusableGraph, fold
from services.security.camouflage.optimisation.graphs.functions import GraphFunction
from services.security.camouflage.optimisation.graphs.nodes import UnknownOperator
from shared.runtime.inspection.verification import inspect
from tests.unit.services.security.camouflage.optimisation.graphs.exported_detectors import exported
from tests.unit.services.security.camouflage.optimisation.graphs.small_graphs import make_model, one_operator, run

SHAPE = (1, 3, 64, 96)
PICTURES = np.random.default_rng(0).random((3, *SHAPE), np.float32)


def make(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), name=outputs, **attributes)


def chosen_values() -> onnx.ModelProto:
    """The roots of what is above a half and not in the first column, 1/x and ln of it; counted, ranged and compared."""
    nodes = [
        make("Greater", "x half", "large"),
        make("Equal", "x x", "same"),
        make("And", "large same", "both"),
        make("Shape", "x", "sizes"),
        make("ConstantOfShape", "sizes", "nothing"),
        make("Cast", "nothing", "never", to=TensorProto.BOOL),
        make("Or", "both never", "chosen"),
        make("Not", "chosen", "others"),
        make("NonZero", "chosen", "places"),
        make("Transpose", "places", "rows"),
        make("Sqrt", "x", "root"),
        make("Reciprocal", "x", "inverse"),
        make("Log", "inverse", "logarithm"),
        make("Where", "others logarithm root", "mixed"),
        make("GatherND", "mixed rows", "picked"),
        make("Size", "picked", "count"),
        make("Range", "zero count one", "numbers"),
        make("Cast", "numbers", "floats", to=TensorProto.FLOAT),
        make("Mul", "picked floats", "y"),
    ]
    stored = {"half": np.float32(0.5), "zero": np.int64(0), "one": np.int64(1)}
    return make_model(nodes, [2, 9], {name: np.asarray(one) for name, one in stored.items()}, {"y": TensorProto.FLOAT})


def test_what_values_count_is_computed_one_by_one() -> None:
    model = chosen_values()
    values = np.random.default_rng(2).random((2, 2, 9), np.float32)
    graph = GraphFunction(model)
    assert not graph.batches
    found = [graph(torch.from_numpy(one))[0] for one in values]
    assert len(found[0]) != len(found[1])
    for one, output in zip(values, found, strict=True):
        np.testing.assert_allclose(output.numpy(), run(model, one)[0], rtol=1e-5)


@pytest.mark.parametrize("architecture", ["single-stage", "two-stage"])
def test_exported_detectors_are_computed(architecture: str) -> None:
    detector, content = exported(architecture)
    inspect(content)
    folded = fold(content, SHAPE)
    assert {node.domain for node in folded.graph.node} == {""}
    assert "Shape" not in {node.op_type for node in folded.graph.node} or architecture == "two-stage"
    graph = GraphFunction(folded)
    assert graph.batches == (architecture == "single-stage")
    for picture, (boxes, scores) in zip(PICTURES, graph.each(torch.from_numpy(PICTURES[:, 0])), strict=True):
        wanted = detector.predict(torch.from_numpy(picture))[0]
        torch.testing.assert_close(scores, wanted.scores.detach(), atol=1e-4, rtol=0)
        torch.testing.assert_close(boxes, wanted.boxes.detach(), atol=2e-3, rtol=0)


def test_gradients_are_those_of_finite_differences_and_weights_stay() -> None:
    graph = GraphFunction(fold(exported("single-stage")[1], SHAPE), precision=torch.float64)
    before = graph.digest()
    pictures = torch.from_numpy(PICTURES[:2, 0]).double().requires_grad_()
    direction = torch.randn(pictures.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def surest(shift: float) -> torch.Tensor:
        return torch.stack([scores.max() for _, scores in graph.each(pictures + shift * direction)])

    (gradient,) = torch.autograd.grad(surest(0.0).sum(), pictures)
    slopes = ((surest(1e-6) - surest(-1e-6)) / 2e-6).detach()
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), slopes, rtol=1e-5, atol=1e-9)
    assert slopes.abs().min() > 1e-6
    assert graph.digest() == before


def test_the_digest_knows_each_weight() -> None:
    weights = np.ones((2, 3, 3, 3), np.float32)
    digest = GraphFunction(one_operator("Conv", SHAPE, [weights])).digest()
    weights[1, 2, 0, 0] = np.nextafter(np.float32(1), np.float32(2))
    assert GraphFunction(one_operator("Conv", SHAPE, [weights])).digest() != digest


def test_weights_in_half_precision_are_computed_with_in_single() -> None:
    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float16)
    nodes = [make("Cast", "stored", "weights", to=TensorProto.FLOAT), make("Conv", "x weights", "y")]
    model = make_model(nodes, [1, 3, "height", "width"], {"stored": weights}, {"y": TensorProto.FLOAT})
    folded = fold(model.SerializeToString(), SHAPE)
    assert [node.op_type for node in folded.graph.node] == ["Conv"]
    found = GraphFunction(folded)(torch.from_numpy(PICTURES[0]))[0]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), run(model, PICTURES[0])[0], atol=1e-5)


def test_unknown_operators_are_named() -> None:
    nodes = [make("Sin", "x", "a"), make("Cumsum", "a", "b"), make("Relu", "b", "y")]
    with pytest.raises(UnknownOperator, match=r"not known here: Cumsum, Sin$"):
        GraphFunction(make_model(nodes, SHAPE, {}, {"y": TensorProto.FLOAT}))
    with pytest.raises(UnusableGraph, match="opset 11"):
        GraphFunction(one_operator("Relu", SHAPE, opset=11))


def test_graphs_that_cannot_be_folded_are_refused() -> None:
    content = one_operator("Relu", SHAPE).SerializeToString()
    with pytest.raises(UnusableGraph, match=r"its input is \[1, 3, 64, 96\]"):
        fold(content, (1, 3, 32, 32))
    with pytest.raises(UnusableGraph, match="onnxruntime does not open it"):
        fold(make_model([make("Nonsense", "x", "y")], SHAPE, {}, {"y": TensorProto.FLOAT}).SerializeToString(), SHAPE)
