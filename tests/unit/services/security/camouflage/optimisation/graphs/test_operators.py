"""Each operator against onnxruntime, alone and side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto

from services.security.camouflage.optimisation.graphs.functions import OPERATORS, GraphFunction
from services.security.camouflage.optimisation.graphs.nodes import UnknownOperator
from tests.unit.services.security.camouflage.optimisation.graphs.small_graphs import one_operator, run

MAP = (1, 4, 9, 12)
F, I = np.float32, np.int64  # noqa: E741


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(F)


def ints(*values: int) -> np.ndarray:
    return np.array(values, I)


Case = tuple[str, tuple[int, ...], list[Any], dict[str, Any]]

PLAIN = (
    *("Abs", "Ceil", "Elu", "Erf", "Exp", "Flatten", "Floor", "Gelu", "GlobalAveragePool", "HardSigmoid", "HardSwish"),
    *("Identity", "LeakyRelu", "Mish", "Neg", "Relu", "Round", "Sigmoid", "Softmax", "Softplus", "Tanh", "Transpose"),
)
PAIRS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "PRelu")
CORNERS = {"coordinate_transformation_mode": "align_corners"}
FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

CASES: list[Case] = [
    *((name, MAP, [], {}) for name in PLAIN),
    ("Gelu", MAP, [], {"approximate": "tanh"}),
    ("Softmax", MAP, [], {"axis": 1}),
    ("Softplus", (1, 3), [], {}),
    *((name, MAP, [weights(4, 1, 1)], {}) for name in PAIRS),
    *((name, MAP, [weights(4, 1, 1)], {"kind": 9}) for name in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual")),
    ("Pow", MAP, [F(2)], {}),
    ("Clip", MAP, [F(-0.5), F(0.5)], {}),
    ("Clip", MAP, [F(0)], {}),
    ("Clip", MAP, [None, F(0.2)], {}),
    ("MatMul", (1, 3, 5), [weights(5, 2)], {}),
    ("Gemm", (3, 5), [weights(2, 5), weights(2)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", (5, 3), [weights(5, 2)], {"transA": 1}),
    *((f"Reduce{name}", MAP, [ints(2, -1)], {"keepdims": 0}) for name in ("Max", "Min", "Mean", "Sum", "Prod")),
    ("ReduceMean", MAP, [], {}),
    ("ReduceMax", MAP, [], {"noop_with_empty_axes": 1}),
    ("ReduceMax", MAP, [], {"axes": [1], "opset": 13}),
    ("ArgMax", MAP, [], {"axis": 1, "keepdims": 0, "kind": 7}),
    ("Cast", MAP, [], {"to": 7, "kind": 7}),
    ("Cast", MAP, [], {"to": 9, "kind": 9}),
    ("Conv", MAP, [weights(6, 4, 3, 3), weights(6)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", MAP, [weights(6, 4, 3, 3)], {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("Conv", MAP, [weights(4, 1, 5, 5)], {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", MAP, [weights(4, 2, 3, 3)], {"group": 2, "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("Conv", MAP, [weights(4, 2, 3, 3)], {"group": 2, "dilations": [2, 3]}),
    ("Conv", (1, 4, 9), [weights(2, 4, 3)], {"auto_pad": "VALID"}),
    ("MaxPool", MAP, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("MaxPool", MAP, [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("MaxPool", MAP, [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", MAP, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("AveragePool", MAP, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("InstanceNormalization", MAP, [weights(4), weights(4)], {"epsilon": 1e-3}),
    ("BatchNormalization", MAP, [weights(4), weights(4), weights(4), np.ones(4, F)], {}),
    ("LayerNormalization", MAP, [weights(12), weights(12)], {}),
    ("Resize", MAP, [None, np.array([1, 1, 2, 2], F)], FLOOR),
    ("Resize", MAP, [None, None, ints(1, 4, 13, 7)], {}),
    ("Resize", MAP, [None, None, ints(13, 7)], {"axes": [2, 3], "nearest_mode": "ceil", **CORNERS}),
    ("Resize", MAP, [None, np.array([1, 1, 2, 1.5], F)], {"mode": "linear"}),
    ("Resize", MAP, [None, None, ints(1, 4, 5, 20)], {"mode": "linear", **CORNERS}),
    ("Concat", MAP, [weights(1, 2, 9, 12)], {"axis": 1}),
    ("Expand", (1, 4, 1, 1), [ints(1, 1, 3, 5)], {}),
    ("Tile", MAP, [ints(1, 1, 2, 1)], {}),
    ("Pad", MAP, [ints(0, 0, 1, 2, 0, 1, 3, 0), F(0.5)], {}),
    ("Pad", MAP, [ints(1, 2, 3, 0), None, ints(2, 3)], {"mode": "reflect"}),
    ("Pad", MAP, [ints(1, 2, 3, 0), None, ints(2, 3)], {"mode": "edge"}),
    ("Reshape", MAP, [ints(0, -1, 6)], {}),
    ("Transpose", MAP, [], {"perm": [0, 2, 3, 1]}),
    ("Flatten", MAP, [], {"axis": 2}),
    ("Squeeze", (1, 3, 1, 2), [ints(2)], {}),
    ("Unsqueeze", (1, 3), [ints(0, -1)], {}),
    ("Slice", MAP, [ints(1, -5), ints(8, 2**40), ints(2, 3), ints(2, 1)], {}),
    ("Slice", MAP, [ints(-1), ints(-(2**40)), ints(3), ints(-1)], {}),
    ("Slice", MAP, [ints(5), ints(2), ints(3)], {}),
    ("Split", MAP, [ints(3, 1)], {"axis": 1, "outputs": 2}),
    ("Split", MAP, [], {"axis": 2, "num_outputs": 2, "outputs": 2}),
    ("Shape", MAP, [], {"start": 1, "end": -1, "kind": 7}),
    ("Size", MAP, [], {"kind": 7}),
    ("Gather", MAP, [I(-1)], {"axis": 1}),
    ("Gather", MAP, [np.array([[0, 2], [-1, 1]], I)], {"axis": 2}),
    ("GatherElements", (3, 4), [np.array([[0, -1], [2, 1]], I)], {"axis": 1}),
    ("GatherND", (3, 4), [np.array([[0, 1], [2, 3]], I)], {}),
    ("ScatterND", (3, 4), [np.array([[0], [2]], I), weights(2, 4)], {}),
    ("ScatterElements", (3, 4), [np.array([[0, 1, 2, 0]], I), weights(1, 4)], {}),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "shape", "constants", "options"), CASES)
def test_it_is_the_operator_of_onnxruntime(
    operator: str, shape: tuple[int, ...], constants: list[Any], options: dict[str, Any]
) -> None:
    model = one_operator(operator, shape, constants, **options)
    values = np.random.default_rng(0).normal(size=(2, *shape)).astype(F)
    graph = GraphFunction(model)
    alone = [graph(torch.from_numpy(one)) for one in values]
    for one, found in zip(values, alone, strict=True):
        for wanted, value in zip(run(model, one), found, strict=True):
            assert value.shape == wanted.shape
            np.testing.assert_allclose(value.numpy(), wanted, atol=2e-6, rtol=2e-6)
    beside = torch.func.vmap(graph)(torch.from_numpy(values))
    for place, output in enumerate(beside):
        torch.testing.assert_close(output, torch.stack([one[place] for one in alone]), atol=2e-6, rtol=2e-6)


def test_the_surest_come_first() -> None:
    model = one_operator("TopK", (1, 50), [ints(7)], outputs=2, axis=1)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    values = np.random.default_rng(0).normal(size=(1, 50)).astype(F)
    for wanted, value in zip(run(model, values), GraphFunction(model)(torch.from_numpy(values)), strict=True):
        np.testing.assert_array_equal(value.numpy(), wanted)


@pytest.mark.parametrize("by_centre", [0, 1])
def test_overlaps_are_suppressed_class_by_class(by_centre: int) -> None:
    random = np.random.default_rng(1)
    boxes = random.random((1, 40, 4)).astype(F) * 20  # corners in any order, or centres and sides
    constants = [random.random((1, 3, 40)).astype(F), ints(9), F(0.4), F(0.3)]
    model = one_operator("NonMaxSuppression", (1, 40, 4), constants, kind=7, center_point_box=by_centre)
    graph = GraphFunction(model)
    assert not graph.batches
    found = graph(torch.from_numpy(boxes))[0].numpy()
    np.testing.assert_array_equal(found, run(model, boxes)[0])
    assert 0 < len(found) <= 27


def test_boxes_are_pooled() -> None:
    boxes = np.array([[0, 0, 40, 60], [-9, 5, 30, 31], [10, 10, 11, 90]], F)
    options: dict[str, Any] = {"output_height": 7, "output_width": 7, "sampling_ratio": 2, "spatial_scale": 0.125}
    model = one_operator("RoiAlign", MAP, [boxes, np.zeros(3, I)], **options)
    values = weights(*MAP)
    wanted = run(model, values)[0]
    np.testing.assert_allclose(GraphFunction(model)(torch.from_numpy(values))[0].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "constants", "options", "said"),
    [
        ("Resize", [None, None, ints(1, 4, 5, 5)], {"mode": "cubic"}, "mode = 'cubic'"),
        ("Resize", [None, None, ints(1, 2, 9, 12)], {}, "other axes"),
        ("Resize", [None, None, ints(1, 4, 5, 5)], {"mode": "linear", **FLOOR}, "asymmetric"),
        ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}, "uneven padding"),
        ("Cast", [], {"to": 8}, "to the type 8"),
        ("Conv", [weights(6, 3, 3, 3)], {}, "as it stands here"),
        ("Concat", [weights(1, 2, 3, 4)], {"axis": 9}, "as it stands here"),
    ],
)  # fmt: skip
def test_modes_that_are_not_known_are_refused_by_name(
    operator: str, constants: list[Any], options: dict[str, Any], said: str
) -> None:
    graph = GraphFunction(one_operator(operator, MAP, constants, **options))
    with pytest.raises(UnknownOperator, match=operator) as refused:
        graph(torch.from_numpy(weights(*MAP)))
    assert said in str(refused.value)
    assert "'one'" in str(refused.value)


def test_every_operator_is_compared() -> None:
    elsewhere = {"TopK", "NonMaxSuppression", "RoiAlign"}
    # Of operators that a fixed size of pictures leaves no use for, or that take what is no float.
    in_graphs = {
        "And",
        "ConstantOfShape",
        "Equal",
        "Log",
        "NonZero",
        "Not",
        "Or",
        "Range",
        "Reciprocal",
        "Sqrt",
        "Where",
    }
    assert OPERATORS.keys() - {case[0] for case in CASES} == elsewhere | in_graphs | {"Where"}
