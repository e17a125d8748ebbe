"""The weights of ONNX classifiers as a memory: which are found, how they are stored, what is read from faulty cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.security.bit_errors.faults import FaultModel, draw_faults
from services.security.bit_errors.quantisation import quantise
from services.security.bit_errors.weight_memory import UnreadableMemory, WeightMemory
from tests.support.weight_graphs import CLASSES, convolutional, model_of, picture_input

NO_FAULTS = FaultModel(0.0)


def matrix_input() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 4])


def stated(model: bytes) -> dict[str, np.ndarray[Any, Any]]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load_model_from_string(model).graph.initializer}


def test_weights_are_found_and_named_after_their_layers() -> None:
    memory = WeightMemory.read(convolutional())
    assert [(one.layer, one.operator, one.shape) for one in memory.tensors] == [
        ("conv", "Conv", (6, 3, 3, 3)),
        ("fc", "Gemm", (CLASSES, 6)),
    ]
    assert memory.count == 6 * 27 + CLASSES * 6
    assert not memory.quantised_by_graph


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("constants", [False, True], ids=["initialisers", "constant nodes"])
def test_without_faults_the_quantised_weights_are_read_in_the_graphs_own_type(dtype: Any, constants: bool) -> None:
    read = WeightMemory.read(convolutional(dtype, constants=constants)).perturbed(NO_FAULTS, 1)
    for name, values in stated(convolutional(dtype)).items():
        if name in read:
            expected = quantise(values.astype(np.float32)).dequantise().astype(dtype)
            assert read[name].dtype == dtype
            np.testing.assert_array_equal(read[name], expected)
    assert set(read) == {"conv.weight", "fc.weight"}


def test_bfloat16_is_read_as_such() -> None:
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, [4, CLASSES], np.linspace(-1, 1, 4 * CLASSES))
    nodes = [helper.make_node("Cast", ["w"], ["s"], to=1), helper.make_node("MatMul", ["rows", "s"], ["logits"])]
    (stored,) = WeightMemory.read(model_of(nodes, [tensor], matrix_input())).tensors
    assert stored.dtype.name == "bfloat16"
    assert stored.values.max() == 127


@pytest.mark.parametrize("layout", ["tiled", "iid"])
@pytest.mark.parametrize("kind", ["stuck_at", "flip"])
def test_faults_are_those_of_the_seed_and_of_the_tensors_number(layout: Any, kind: Any) -> None:
    memory, model = WeightMemory.read(convolutional()), FaultModel(0.05, kind, layout)
    read = memory.perturbed(model, 7)
    for number, stored in enumerate(memory.tensors):
        expected = draw_faults(model, 7, stored.count, tensor=number).read(stored.values)
        np.testing.assert_array_equal(read[stored.name], expected.astype(np.float32) * np.float32(stored.scale))
        assert (expected != stored.values).any()


@pytest.mark.parametrize(
    ("node", "weight", "layer"),
    [
        ("/stem/Conv", "onnx::Conv_17", "/stem/Conv"),
        ("node_linear_3", "blocks.0.fc.weight", "blocks.0.fc"),
        ("node_linear_3", "val_12", "node_linear_3"),
        ("", "blocks.0.fc.weight", "blocks.0.fc"),
        ("", "w", "logits"),
    ],
)
def test_a_layer_is_called_by_what_says_the_most(node: str, weight: str, layer: str) -> None:
    tensor = numpy_helper.from_array(np.ones((4, CLASSES), np.float32), weight)
    product = helper.make_node("MatMul", ["rows", weight], ["logits"], name=node)
    (stored,) = WeightMemory.read(model_of([product], [tensor], matrix_input())).tensors
    assert stored.layer == layer


def test_only_the_chosen_layers_fail() -> None:
    memory = WeightMemory.read(convolutional())
    whole, faultless = memory.perturbed(FaultModel(0.1), 3), memory.read_faultless()
    read = memory.perturbed(FaultModel(0.1), 3, {"fc"})
    np.testing.assert_array_equal(read["conv.weight"], faultless["conv.weight"])
    np.testing.assert_array_equal(read["fc.weight"], whole["fc.weight"])
    with pytest.raises(KeyError, match="no such layer: other"):
        memory.perturbed(FaultModel(0.1), 3, {"other"})


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_bytes_of_a_quantised_graph_are_the_memory(dtype: Any) -> None:
    bytes_ = np.arange(4 * CLASSES).astype(dtype).reshape(4, CLASSES) * dtype(6)
    tensors = [
        numpy_helper.from_array(bytes_, "w"),
        numpy_helper.from_array(np.full(CLASSES, 0.1, np.float32), "scales"),
        numpy_helper.from_array(np.full(CLASSES, 3, dtype), "zeros"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scales", "zeros"], ["s"], axis=1),
        helper.make_node("MatMul", ["rows", "s"], ["logits"]),
    ]
    memory = WeightMemory.read(model_of(nodes, tensors, matrix_input()))
    assert memory.quantised_by_graph
    np.testing.assert_array_equal(memory.read_faultless()["w"], bytes_)
    faults = FaultModel(1.0, "flip", bits=(7,))
    np.testing.assert_array_equal(memory.perturbed(faults, 1)["w"].view(np.uint8), bytes_.view(np.uint8) ^ 0x80)


def test_a_shared_weight_is_one_and_layers_have_names_of_their_own() -> None:
    shared = numpy_helper.from_array(np.eye(4, dtype=np.float32), "shared")
    last = numpy_helper.from_array(np.ones((4, CLASSES), np.float32), "last")
    nodes = [
        helper.make_node("MatMul", ["rows", "shared"], ["a"], name="product"),
        helper.make_node("MatMul", ["a", "shared"], ["b"], name="product"),
        helper.make_node("MatMul", ["b", "last"], ["logits"], name="product"),
    ]
    memory = WeightMemory.read(model_of(nodes, [shared, last], matrix_input()))
    assert [(one.name, one.layer) for one in memory.tensors] == [("shared", "product"), ("last", "product #3")]


def test_forms_are_passed_and_products_of_activations_have_no_weights() -> None:
    weight = numpy_helper.from_array(np.ones((CLASSES, 2, 2), np.float32), "w")
    shape = numpy_helper.from_array(np.array([CLASSES, 4]), "shape")
    nodes = [
        helper.make_node("Reshape", ["w", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["turned"], perm=[1, 0]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[1, 0]),
        helper.make_node("MatMul", ["columns", "rows"], ["attention"]),
        helper.make_node("MatMul", ["rows", "attention"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "turned"], ["logits"]),
    ]
    memory = WeightMemory.read(model_of(nodes, [weight, shape], matrix_input()))
    assert [one.name for one in memory.tensors] == ["w"]
    assert memory.computed_layers == ()


def test_a_layer_whose_weight_is_computed_is_named() -> None:
    tensors = [numpy_helper.from_array(np.ones((4, CLASSES), np.float32), name) for name in ("v", "g")]
    nodes = [helper.make_node("Mul", ["v", "g"], ["w"]), helper.make_node("MatMul", ["rows", "w"], ["logits"])]
    with pytest.raises(UnreadableMemory, match=r"\(logits\) are computed by the graph.*constants folded"):
        WeightMemory.read(model_of(nodes, tensors, matrix_input()))


def test_a_model_without_weights_is_refused() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["a"]),
        helper.make_node("Concat", ["a", "a"], ["b"], axis=1),
        helper.make_node("Flatten", ["b"], ["logits"]),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [picture_input()], [matrix_input()]))
    with pytest.raises(UnreadableMemory, match="no convolution and no matrix product"):
        WeightMemory.read(model)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(number: float) -> None:
    values = np.ones((4, CLASSES), np.float32)
    values[1, 2] = number
    nodes = [helper.make_node("MatMul", ["rows", "w"], ["logits"], name="last")]
    with pytest.raises(UnreadableMemory, match="weights of last hold NaN or infinite"):
        WeightMemory.read(model_of(nodes, [numpy_helper.from_array(values, "w")], matrix_input()))


def test_four_bits_are_refused() -> None:
    weight = helper.make_tensor("w", TensorProto.INT4, [4, CLASSES], [1] * (4 * CLASSES))
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["s"]),
        helper.make_node("MatMul", ["rows", "s"], ["logits"], name="last"),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "g", [matrix_input()], [output], [weight, scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    with pytest.raises(UnreadableMemory, match="weights of last are stored as int4"):
        WeightMemory.read(model)


def test_layers_in_control_flow_are_refused() -> None:
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.ones((4, CLASSES), np.float32), "w")
    body = helper.make_graph([helper.make_node("MatMul", ["rows", "w"], ["inner"])], "body", [], [output], [weight])
    condition = numpy_helper.from_array(np.array(True), "condition")
    nodes = [helper.make_node("If", ["condition"], ["logits"], name="branch", then_branch=body, else_branch=body)]
    with pytest.raises(UnreadableMemory, match="within the body of If branch"):
        WeightMemory.read(model_of(nodes, [condition], matrix_input()))


def test_weights_in_other_files_and_other_files_are_refused() -> None:
    model = onnx.load_model_from_string(convolutional())
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(UnreadableMemory, match="weights lie in other files"):
        WeightMemory.read(bytes(model.SerializeToString()))
    with pytest.raises(UnreadableMemory, match="no ONNX model"):
        WeightMemory.read(b"\xff\xff\xff")


def test_functions_of_the_file_are_written_out() -> None:
    inner = helper.make_function(
        "own",
        "Dense",
        ["x", "w"],
        ["y"],
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [helper.make_opsetid("", 17)],
    )
    weight = numpy_helper.from_array(np.ones((4, CLASSES), np.float32), "w")
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    node = helper.make_node("Dense", ["rows", "w"], ["logits"], domain="own")
    graph = helper.make_graph([node], "g", [matrix_input()], [output], [weight])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=[inner], opset_imports=opsets)
    assert [one.name for one in WeightMemory.read(bytes(model.SerializeToString())).tensors] == ["w"]
