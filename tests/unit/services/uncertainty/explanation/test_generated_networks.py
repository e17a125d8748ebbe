"""Generated classifiers against loops in double precision: a converted graph is right, or refused by its true name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.uncertainty.explanation.networks.graph import Network, UnsupportedNetwork
from services.uncertainty.explanation.onnx_graphs.conversion import with_explanation
from services.uncertainty.explanation.onnx_graphs.verification import verify
from services.uncertainty.explanation.training import naive
from shared.runtime.session_options import session_options
from tests.unit.services.uncertainty.explanation.generated import draw

EXAMPLES = int(os.environ.get("FACET_GENERATED_NETWORKS", "60"))


@settings(
    phases=[Phase.generate],  # to shrink an example takes minutes; the seed says enough
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="FACET_GENERATED_NETWORKS" not in os.environ,
)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_relevance_is_that_of_the_loops(data: st.DataObject, seed: int) -> None:
    check(*draw(lambda options: data.draw(st.sampled_from(options)), seed), seed)


def check(model: onnx.ModelProto, network: Network, seed: int) -> None:
    onnx.checker.check_model(model)
    verify(model)
    picture = np.random.default_rng(seed).random((1, 3, *network.sizes["pictures"]), np.float32)
    answer = run(with_explanation(model), {"pictures": picture, "target": np.array([1], np.int64)})
    values = naive.run(network, picture[0].astype(np.float64))
    wanted = values[network.head.logits]
    np.testing.assert_allclose(answer[model.graph.output[0].name][0], wanted, rtol=1e-4, atol=1e-4)
    head = network.head
    rows, columns = network.sizes[head.source]
    evidence = np.tensordot(head.weight[1].astype(np.float64), values[head.source], 1) + head.bias[1]
    right = naive.pass_down(network, values, evidence / (rows * columns))["pictures"]
    scale = float(np.abs(right).max()) + 1e-3
    np.testing.assert_allclose(answer["relevance"][0], right, rtol=0, atol=5e-3 * scale)


def run(model: onnx.ModelProto, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


def small(*middle: onnx.NodeProto, weights: dict[str, NDArray[Any]] | None = None, side: int = 9) -> onnx.ModelProto:
    """Convolution, ReLU, what is given (from `a` to `b`), global pooling, linear layer."""
    random = np.random.default_rng(0)
    held = {"w": random.normal(size=(4, 3, 3, 3)), "d": random.normal(size=(4, 3)), "o": random.normal(size=4)}
    held = {name: value.astype(np.float32) for name, value in held.items()} | (weights or {})
    nodes = [helper.make_node("Conv", ["pictures", "w", "o"], ["z"]), helper.make_node("Relu", ["z"], ["a"]), *middle]
    nodes += [helper.make_node("GlobalAveragePool", ["b"], ["p"]), helper.make_node("Flatten", ["p"], ["f"])]
    nodes += [helper.make_node("MatMul", ["f", "d"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


EYE = np.eye(4, dtype=np.float32)[:, :, None, None]
ONES = np.ones(4, np.float32)


def node(kind: str, *inputs: str, to: str = "b", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [to], **attributes)


def batch_norm(**attributes: Any) -> list[onnx.NodeProto]:
    outputs = ["b", "mean", "variance"] if attributes.get("training_mode") else ["b"]
    return [
        node("Conv", "a", "k", to="y"),
        helper.make_node("BatchNormalization", ["y", "s", "s", "s", "s"], outputs, **attributes),
    ]


REFUSED = {
    "dilated windows": [node("MaxPool", "a", kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2])],
    "training mode; export": batch_norm(training_mode=1),
    "whose shapes differ": [
        node("Conv", "a", "one", to="y"),
        node("Conv", "a", "k", to="x"),
        node("Add", "y", "x"),
    ],
    "padding that is not smaller than the kernel": [node("Conv", "a", "k", pads=[1, 1, 1, 1])],
    "differ between sides": [node("MaxPool", "a", kernel_shape=[2, 2], auto_pad="SAME_UPPER")],
    "a Clip from -1.0 to 6.0": [node("Conv", "a", "k", to="y"), node("Clip", "y", "below", "six")],
    "a Clip from None to 6.0": [node("Conv", "a", "k", to="y"), node("Clip", "y", "", "six")],
    "a Clip that does not follow": [node("Clip", "a", "zero", "six")],
    "padding with something else than zeros": [node("Pad", "a", "around", "six", to="y"), node("Conv", "y", "k3")],
    "something else than height and width": [node("Pad", "a", "channels", to="y"), node("Conv", "y", "k3")],
    "zeros around something else": [node("Pad", "a", "around")],
    "cuts something off": [node("Conv", "a", "k3", pads=[-1, 0, 0, 0])],
    "dilated convolution": [node("Conv", "a", "k3", dilations=[2, 2])],
    "by its kernel, strides and padding": [
        node("MaxPool", "a", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    ],
    "a constant that differs between positions": [node("Conv", "a", "k", to="y"), node("Add", "y", "map")],
    "no finite numbers": [node("Conv", "a", "nan")],
    "an operation without a rule": [node("HardSwish", "a")],
}
WEIGHTS = {
    "k": EYE,
    "one": EYE[:1],
    "around": np.array([0, 0, 0, 0, 0, 0, 1, 1]),
    "channels": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "below": np.array(-1, np.float32),
    "k3": np.ones((4, 4, 3, 3), np.float32),
    "map": np.random.default_rng(1).random((1, 4, 7, 7), np.float32),
    "nan": EYE * np.float32(np.nan),
    "s": ONES,
}


@pytest.mark.parametrize(("named", "middle"), REFUSED.items(), ids=list(REFUSED))
def test_what_cannot_be_right_is_refused_by_its_name(named: str, middle: list[onnx.NodeProto]) -> None:
    model = small(*middle, weights=WEIGHTS)
    onnx.checker.check_model(model)
    with pytest.raises(UnsupportedNetwork, match=named):
        verify(model)


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_a_flattening_along_another_axis_is_refused(axis: int) -> None:
    model = small(node("Identity", "a"))
    next(each for each in model.graph.node if each.op_type == "Flatten").attribute.append(
        helper.make_attribute("axis", axis)
    )
    with pytest.raises(UnsupportedNetwork):
        verify(model)


def test_an_operation_of_somebody_elses_is_not_taken_for_one_of_onnx() -> None:
    model = small(helper.make_node("Identity", ["a"], ["b"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedNetwork, match=r"an operation of com\.example"):
        verify(model)


def test_whole_numbers_and_names_that_are_needed_are_refused() -> None:
    model = small(node("Identity", "a"))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(UnsupportedNetwork, match="an input of type uint8"):
        verify(model)
    model = small(node("Identity", "a"))
    model.graph.output[0].name = model.graph.node[-1].output[0] = "relevance"
    with pytest.raises(UnsupportedNetwork, match="called relevance, a name that the explanation needs"):
        verify(model)
