"""Graphs of one operator on tensors without elements, for `tests.support.operator_extremes` to run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from shared.runtime.inspection.onnx_file import ELEMENT_TYPES

Array = NDArray[Any]
Case = tuple[str, bytes, list[dict[str, Array]]]
"""Label, file and the inputs of each run."""

_TYPES = {name: number for number, name in ELEMENT_TYPES.items()}
NUMBERS = ("float32", "int64")
UNARY: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, {}) for name in ("Neg", "Abs", "Sign", "Relu", "Clip", "Identity", "NonZero", "Transpose", "Unique")
} | {
    f"{name}": (name, {"keepdims": 1})
    for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                 "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum", "ArgMax", "ArgMin")
} | {
    f"{name} of axis {axis}": (name, {"axis": axis})
    for name in ("Softmax", "LogSoftmax", "Hardmax", "LayerNormalization", "ArgMax", "ArgMin", "Flatten", "Concat")
    for axis in (0, 1)
} | {
    "LpNormalization": ("LpNormalization", {"axis": 1}),
    "MeanVarianceNormalization": ("MeanVarianceNormalization", {"axes": [0, 1]}),
}  # fmt: skip
IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "AveragePool": ("AveragePool", {"kernel_shape": [1, 1]}),
    "MaxPool": ("MaxPool", {"kernel_shape": [1, 1]}),
    "LpPool": ("LpPool", {"kernel_shape": [1, 1]}),
    "GlobalAveragePool": ("GlobalAveragePool", {}),
    "GlobalMaxPool": ("GlobalMaxPool", {}),
    "LRN": ("LRN", {"size": 3}),
    "DepthToSpace": ("DepthToSpace", {"blocksize": 2}),
    "SpaceToDepth": ("SpaceToDepth", {"blocksize": 2}),
}
LISTS: dict[str, tuple[str, Array]] = {
    "TopK": ("TopK", np.array([1])),
    "TopK of none": ("TopK", np.array([0])),
    "Reshape": ("Reshape", np.array([-1])),
    "Reshape by zero": ("Reshape", np.array([0, -1])),
    "Reshape to eights": ("Reshape", np.array([-1, 8])),
    "Expand": ("Expand", np.array([3, 1, 1])),
    "Tile": ("Tile", np.array([2, 2])),
    "Unsqueeze": ("Unsqueeze", np.array([0])),
    "CumSum": ("CumSum", np.array(0)),
    "Gather": ("Gather", np.array([0])),
    "GatherND": ("GatherND", np.array([[0]])),
    "GatherElements": ("GatherElements", np.array([[0]])),
    "Compress": ("Compress", np.array([True])),
    "Pad": ("Pad", np.array([1, 1, 1, 1])),
    "Split": ("Split", np.array([0])),
    "ReduceMean": ("ReduceMean", np.array([0])),
    "ReduceMax": ("ReduceMax", np.array([1])),
    "MatMul": ("MatMul", np.zeros((0, 3), np.float32)),
    "Gemm": ("Gemm", np.zeros((0, 3), np.float32)),
    "Einsum": ("Einsum", np.zeros((0, 3), np.float32)),
}


def graph(
    operator: str,
    inputs: dict[str, Array],
    *,
    outputs: int = 1,
    constants: dict[str, Array | None] | None = None,
    domain: str = "",
    **attributes: Any,
) -> bytes:
    """A file of one node whose inputs have open axes, and whose outputs have whatever type and shape come.

    Args:
        operator: of the node.
        inputs: by name, in their order.
        outputs: how many it has.
        constants: its further inputs; None for one that is left out.
        domain: of the operator.
        attributes: of the node.
    """
    values = [
        helper.make_tensor_value_info(
            name, _TYPES["string" if array.dtype == object else array.dtype.name], [None] * array.ndim
        )
        for name, array in inputs.items()
    ]
    fixed = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items() if array is not None]
    given = [*inputs, *(name if array is not None else "" for name, array in (constants or {}).items())]
    names = [f"y{number}" for number in range(outputs)]
    node = helper.make_node(operator, given, names, domain=domain, **attributes)
    made = [helper.make_empty_tensor_value_info(name) for name in names]
    opsets = [helper.make_opsetid(one, version) for one, version in (("", 20), ("ai.onnx.ml", 3), ("com.microsoft", 1))]
    model = helper.make_model(
        helper.make_graph([node], operator, values, made, fixed), opset_imports=opsets, ir_version=9
    )
    content: bytes = model.SerializeToString()
    return content


def _type_of(array: Array) -> int:
    return _TYPES["string" if array.dtype == object else array.dtype.name]


def empty_tensors() -> Iterator[Case]:
    """Tensors without elements through operators that divide by sizes, look at neighbours or count."""
    for table, dtype in product(((0, 3), (3, 0), (0, 0)), NUMBERS):
        yield from _empty_tables({"a": np.zeros(table, dtype)})
    for image in ((0, 4, 4, 4), (1, 4, 0, 4), (1, 0, 4, 4), (1, 4, 4, 0)):
        yield from _empty_images({"a": np.zeros(image, np.float32)})
    for sequence in ((0, 1, 2), (1, 0, 2), (0, 0, 2)):
        yield from _empty_sequences({"a": np.zeros(sequence, np.float32)})
    for table in ((0, 3), (3, 0), (0, 0)):
        yield from _empty_rows({"a": np.zeros(table, np.float32)})


def _case(operator: str, feeds: dict[str, Array], label: str = "", **given: Any) -> Case:
    described = ", ".join(f"{array.dtype.name} {array.shape}" for array in feeds.values())
    return f"{label or operator} of {described}", graph(operator, feeds, **given), [feeds]


def _empty_tables(feeds: dict[str, Array]) -> Iterator[Case]:
    dtype = feeds["a"].dtype
    for label, (operator, attributes) in UNARY.items():
        yield _case(operator, feeds, label, **attributes)
    for label, (operator, other) in LISTS.items():
        outputs = 2 if operator == "TopK" else 1
        extra = {"equation": "ij,jk->ik"} if operator == "Einsum" else {}
        constants = {"b": other.astype(dtype) if other.dtype == np.float32 else other}
        yield _case(operator, feeds, label, outputs=outputs, constants=constants, **extra)


def _empty_images(feeds: dict[str, Array]) -> Iterator[Case]:
    for label, (operator, attributes) in IMAGES.items():
        yield _case(operator, feeds, label, **attributes)
    kernel = {"w": np.zeros((2, 4, 1, 1), np.float32)}
    for operator in ("Conv", "ConvTranspose"):
        yield _case(operator, feeds, constants=kernel)
    for mode in ("nearest", "linear", "cubic"):
        scales = {"r": np.zeros(0, np.float32), "s": np.array([1, 1, 2, 2], np.float32)}
        yield _case("Resize", feeds, f"Resize {mode}", constants=scales, mode=mode)
    four = np.zeros(4, np.float32)
    yield _case("BatchNormalization", feeds, constants={"s": four, "b": four, "m": four, "v": four})
    yield _case("InstanceNormalization", feeds, constants={"s": four, "b": four})
    yield _case("GroupNormalization", feeds, constants={"s": four[:2], "b": four[:2]}, num_groups=2)
    grid = np.zeros((feeds["a"].shape[0], 3, 3, 2), np.float32)
    yield _case("GridSample", feeds, constants={"g": grid})
    boxes = {"r": np.zeros((1, 4), np.float32), "i": np.zeros(1, np.int64)}
    yield _case("RoiAlign", feeds, constants=boxes)
    yield _case("MaxRoiPool", feeds, constants={"r": np.zeros((1, 5), np.float32)}, pooled_shape=[2, 2])
    columns = {"a": np.zeros((feeds["a"].shape[0], feeds["a"].shape[1], 4), np.float32)}
    yield _case("Col2Im", columns, constants={"i": np.array([2, 2]), "k": np.array([1, 1])})
    yield _case("QLinearGlobalAveragePool", {"a": feeds["a"].astype(np.uint8)}, domain="com.microsoft",
                constants={"xs": np.float32(1).reshape(()), "xz": np.uint8(0).reshape(()),
                           "ys": np.float32(1).reshape(()), "yz": np.uint8(0).reshape(())})  # fmt: skip


def _empty_sequences(feeds: dict[str, Array]) -> Iterator[Case]:
    for (operator, gates), direction in product((("LSTM", 4), ("GRU", 3), ("RNN", 1)), ("forward", "bidirectional")):
        ways = 2 if direction == "bidirectional" else 1
        weights: dict[str, Array] = {
            "w": np.zeros((ways, gates * 3, 2), np.float32),
            "r": np.zeros((ways, gates * 3, 3), np.float32),
        }
        settings: dict[str, Any] = {"hidden_size": 3, "direction": direction}
        yield _case(operator, feeds, f"{operator} {direction}", outputs=2, constants=weights, **settings)
    yield _case("DFT", feeds, constants={"l": None, "x": np.array(1)})
    yield _case("STFT", feeds, constants={"s": np.array(1), "w": None, "l": np.array(1)})
    projection: dict[str, Array] = {"w": np.zeros((2, 12), np.float32), "b": np.zeros(12, np.float32)}
    yield _case("Attention", feeds, domain="com.microsoft", constants=projection, num_heads=2)
    heads = {"k": feeds["a"], "v": feeds["a"]}
    yield _case("MultiHeadAttention", feeds, domain="com.microsoft", constants=heads, num_heads=1)
    norm = {"g": np.ones(2, np.float32), "b": np.zeros(2, np.float32)}
    skipped = {"s": feeds["a"]}
    yield _case("SkipLayerNormalization", feeds, domain="com.microsoft", constants=skipped | norm)
    yield _case("Gelu", feeds, domain="com.microsoft")
    yield _case("FusedMatMul", feeds, domain="com.microsoft", constants={"b": np.zeros((2, 2), np.float32)})
    yield _case("NonMaxSuppression", {"a": np.zeros((*feeds["a"].shape[:2], 4), np.float32)},
                constants={"s": np.zeros((feeds["a"].shape[0], 1, feeds["a"].shape[1]), np.float32),
                           "m": np.array([5])})  # fmt: skip
    yield _case("ReverseSequence", {"a": feeds["a"]},
                constants={"l": np.zeros(feeds["a"].shape[1], np.int64)}, time_axis=0, batch_axis=1)  # fmt: skip


def _empty_rows(feeds: dict[str, Array]) -> Iterator[Case]:
    """Operators of ai.onnx.ml and of quantised graphs."""
    ml: dict[str, Any] = {"domain": "ai.onnx.ml"}
    trees: dict[str, Any] = {
        "nodes_treeids": [0], "nodes_nodeids": [0], "nodes_featureids": [0], "nodes_values": [0.0],
        "nodes_modes": ["LEAF"], "nodes_truenodeids": [0], "nodes_falsenodeids": [0],
    }  # fmt: skip
    target: dict[str, Any] = {
        "target_ids": [0],
        "target_nodeids": [0],
        "target_treeids": [0],
        "target_weights": [1.0],
        "n_targets": 1,
    }
    classes: dict[str, Any] = {"class_ids": [0], "class_nodeids": [0], "class_treeids": [0], "class_weights": [1.0],
               "classlabels_int64s": [0, 1]}  # fmt: skip
    yield _case("TreeEnsembleRegressor", feeds, **trees, **target, **ml)
    yield _case("TreeEnsembleClassifier", feeds, outputs=2, **trees, **classes, **ml)
    yield _case("LinearClassifier", feeds, outputs=2, coefficients=[1.0] * 6, intercepts=[0.0] * 2,
                classlabels_ints=[0, 1], **ml)  # fmt: skip
    yield _case("LinearRegressor", feeds, coefficients=[1.0] * 3, intercepts=[0.0], targets=1, **ml)
    yield _case("SVMRegressor", feeds, coefficients=[1.0], support_vectors=[1.0] * 3, n_supports=1, rho=[0.0],
                kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0], **ml)  # fmt: skip
    yield _case("SVMClassifier", feeds, outputs=2, coefficients=[1.0] * 2, support_vectors=[1.0] * 6,
                vectors_per_class=[1, 1], rho=[0.0], kernel_type="RBF", kernel_params=[0.1, 0.0, 3.0],
                classlabels_ints=[0, 1], **ml)  # fmt: skip
    for operator, attributes in (
        ("Scaler", {"offset": [0.0], "scale": [1.0]}), ("Normalizer", {"norm": "MAX"}), ("Normalizer", {"norm": "L1"}),
        ("Normalizer", {"norm": "L2"}), ("Binarizer", {}), ("OneHotEncoder", {"cats_int64s": [0, 1]}),
        ("Imputer", {"imputed_value_floats": [0.0], "replaced_value_float": 1.0}),
        ("LabelEncoder", {"keys_floats": [0.0], "values_int64s": [1]}),
    ):  # fmt: skip
        yield _case(operator, feeds, **attributes, **ml)
    yield _case("ArrayFeatureExtractor", feeds, constants={"i": np.array([0])}, **ml)
    scale = {"s": np.float32(1).reshape(()), "z": np.uint8(0).reshape(())}
    yield _case("QuantizeLinear", feeds, constants=scale)
    yield _case("DynamicQuantizeLinear", feeds, outputs=3)
    narrow = {"a": feeds["a"].astype(np.uint8)}
    yield _case("DequantizeLinear", narrow, constants=scale)
    yield _case("MatMulInteger", narrow, constants={"b": np.zeros((3, 2), np.uint8)})
    yield _case("QLinearMatMul", narrow, constants={
        "as": scale["s"], "az": scale["z"], "b": np.zeros((3, 2), np.uint8), "bs": scale["s"], "bz": scale["z"],
        "ys": scale["s"], "yz": scale["z"]})  # fmt: skip
    row = np.zeros((1, 3), np.float32)
    yield _case("ScatterElements", feeds, constants={"i": np.zeros((1, 1), np.int64), "u": row[:, :1]})
    yield _case("ScatterND", feeds, constants={"i": np.zeros((1, 1), np.int64), "u": row})
    yield _case("OneHot", {"a": feeds["a"].astype(np.int64)}, constants={"d": np.array(3), "v": np.array([0, 1])})
    yield _case("Trilu", feeds)
    yield _case("Where", {"a": feeds["a"].astype(bool)}, constants={"x": row[:1, :1], "y": row[:1, :1]})
    yield _case("LayerNormalization", feeds, constants={"s": np.ones(feeds["a"].shape[1], np.float32)})
    yield _case("SoftmaxCrossEntropyLoss", feeds, constants={"l": np.zeros(feeds["a"].shape[0], np.int64)})
    yield _case("NegativeLogLikelihoodLoss", feeds, constants={"l": np.zeros(feeds["a"].shape[0], np.int64)})
    yield _case("Multinomial", feeds, sample_size=2)
    yield _case("StringNormalizer", {"a": np.zeros(0, object)})
    yield _case("MaxUnpool", {"a": feeds["a"][None, None]}, kernel_shape=[2, 2],
                constants={"i": np.zeros((1, 1, *feeds["a"].shape), np.int64)})  # fmt: skip
