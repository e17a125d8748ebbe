"""Files that are refused, by the field that is at fault; and files that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from shared.runtime.cards import UploadedCard
from shared.runtime.inspection.verification import (
    HIGHEST_IR_VERSION,
    HIGHEST_OPSETS,
    Refused,
    draft_card,
    inspect,
    verify,
)
from tests.support.own_models import endless, own_card, scale

Change = Callable[[onnx.ModelProto], object]


def model() -> onnx.ModelProto:
    return onnx.load_model_from_string(scale(2))


def changed(change: Change) -> bytes:
    proto = model()
    change(proto)
    content: bytes = proto.SerializeToString()
    return content


def external(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def tensor() -> TensorProto:
    return numpy_helper.from_array(np.ones(2, np.float32), "secret")


def external_tensor() -> TensorProto:
    found = tensor()
    external(found)
    return found


def subgraph_node(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("If", ["condition"], ["branch"], **attributes)


def graph_with(initializer: TensorProto) -> onnx.GraphProto:
    output = helper.make_tensor_value_info("secret", TensorProto.FLOAT, [2])
    return helper.make_graph([], "inner", [], [output], [initializer])


def add_node(node: onnx.NodeProto) -> Change:
    return lambda proto: proto.graph.node.append(node)


def sparse(values: TensorProto) -> Any:
    indices = numpy_helper.from_array(np.zeros(2, np.int64), "indices")
    return helper.make_sparse_tensor(values, indices, [4])


def opset(domain: str, version: int) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        del proto.opset_import[:]
        proto.opset_import.append(helper.make_opsetid("", 17))
        if domain == "":
            proto.opset_import[0].version = version
        else:
            proto.opset_import.append(helper.make_opsetid(domain, version))
            proto.graph.node.append(helper.make_node("Thing", ["x"], ["z"], domain=domain))

    return change


def nested(depth: int) -> onnx.NodeProto:
    node = helper.make_node("Identity", ["x"], ["z"])
    for _ in range(depth):
        graph = onnx.GraphProto(name="inner", node=[node])
        node = helper.make_node("If", ["condition"], ["z"], then_branch=graph)
    return node


def function(domain: str, *nodes: onnx.NodeProto) -> Any:
    return helper.make_function(domain, "Own", ["a"], ["b"], list(nodes), [helper.make_opsetid("", 17)])


def training(initializer: TensorProto) -> Change:
    return lambda proto: proto.training_info.add().algorithm.CopyFrom(graph_with(initializer))


def with_zipmap(proto: onnx.ModelProto) -> None:
    """As skl2onnx ends classifiers by default."""
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    proto.graph.node.append(helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]))
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    proto.graph.output.append(helper.make_value_info("p", helper.make_sequence_type_proto(kind)))


GOOD = scale(2)

BAD_FILES: dict[str, tuple[bytes, str]] = {
    "a zero": (b"\0", "no ONNX file"),
    "nothing": (b"", "it is empty"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    "an HDF5 file": (b"\x89HDF\r\n\x1a\n" + b"\0" * 64, "an HDF5 file"),
    "a page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
    "a TensorFlow Lite model": (b"\x1c\0\0\0TFL3" + b"\0" * 64, "a TensorFlow Lite model"),
    "weights of safetensors": (b'\x10\0\0\0\0\0\0\0{"a":{"dtype":1}}', "a file of safetensors"),
    "compressed": (b"\x1f\x8b\x08" + GOOD, "compressed by gzip"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "no ONNX file"),
    "a pickle": (b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93.", "a pickle of Python"),
    "a checkpoint of PyTorch": (b"PK\x03\x04" + b"\0" * 100, "a ZIP archive"),
    "text": (b"import os; os.system('true')", "no ONNX file"),
    "cut off": (GOOD[:-7], "no ONNX file"),
    "cut off in a number": (GOOD + b"\x08\xff", "ends within a number"),
    "a length beyond the end": (GOOD + b"\x3a\xff\xff\xff\x7f", "longer than what is left"),
    "a number of eleven bytes": (GOOD + b"\x08" + b"\xff" * 10 + b"\x01", "longer than ten bytes"),
    "a group": (GOOD + b"\x0b\x0c", "type that is not used"),
    "field zero": (GOOD + b"\x00\x00", "without a valid number"),
    "a name that is no UTF-8": (GOOD.replace(b"Mul", b"M\xffl"), "no UTF-8"),
    "no graph": (changed(lambda proto: proto.ClearField("graph")), "no graph"),
    "too many fields": (GOOD + b"\x08\x08" * 1_000_001, "more fields"),
    "nested too deep": (changed(add_node(nested(12))), "nested deeper"),
    "no IR version": (changed(lambda proto: proto.ClearField("ir_version")), "IR version is 0"),
    "a later IR version": (changed(lambda proto: setattr(proto, "ir_version", 99)), "IR version is 99"),
    "no opset": (changed(lambda proto: proto.ClearField("opset_import")), "imports no opset"),
    "a later opset": (changed(opset("", 99)), "needs opset 99 of ai.onnx"),
    "opset zero": (changed(opset("", 0)), "needs opset 0"),
    "a negative opset": (changed(opset("", -1)), "needs opset -1"),
    "a later opset of ai.onnx.ml": (changed(opset("ai.onnx.ml", 9)), "needs opset 9 of ai.onnx.ml"),
    "a later opset of com.microsoft": (changed(opset("com.microsoft", 2)), "needs opset 2 of com.microsoft"),
    "a custom operator": (changed(opset("com.example", 1)), "Custom operators are not run here: com.example.Thing"),
    "an operator of ONNX's preview": (changed(opset("ai.onnx.preview.training", 1)), "Custom operators"),
    "a custom operator in a branch": (
        changed(
            add_node(
                subgraph_node(
                    then_branch=onnx.GraphProto(node=[helper.make_node("Run", [], ["z"], domain="com.example")])
                )
            )
        ),
        "com.example.Run",
    ),
    "a custom operator in a function": (
        changed(
            lambda proto: proto.functions.append(
                function("own", helper.make_node("Run", ["a"], ["b"], domain="com.example"))
            )
        ),
        "com.example.Run",
    ),
    "a context of another device": (
        changed(
            add_node(helper.make_node("EPContext", ["x"], ["z"], domain="com.microsoft", ep_cache_context="/etc/x"))
        ),
        "name files or code",
    ),
    "external weights": (changed(lambda proto: external(proto.graph.initializer[0])), "Weights must be inside"),
    "external weights without a location": (
        changed(lambda proto: setattr(proto.graph.initializer[0], "data_location", TensorProto.EXTERNAL)),
        "Weights must be inside",
    ),
    "a location without external weights": (
        changed(lambda proto: proto.graph.initializer[0].external_data.add(key="location", value="x")),
        "Weights must be inside",
    ),
    "an external constant": (
        changed(add_node(helper.make_node("Constant", [], ["z"], value=external_tensor()))),
        "Weights must be inside",
    ),
    "external weights in a list": (
        changed(add_node(helper.make_node("Constant", [], ["z"], values=[external_tensor()]))),
        "Weights must be inside",
    ),
    "external weights in a branch": (
        changed(add_node(subgraph_node(then_branch=graph_with(external_tensor())))),
        "Weights must be inside",
    ),
    "external weights in a list of branches": (
        changed(add_node(subgraph_node(branches=[graph_with(external_tensor())]))),
        "Weights must be inside",
    ),
    "external sparse weights": (
        changed(lambda proto: proto.graph.sparse_initializer.append(sparse(external_tensor()))),
        "Weights must be inside",
    ),
    "an external sparse constant": (
        changed(add_node(helper.make_node("Constant", [], ["z"], sparse_value=sparse(external_tensor())))),
        "Weights must be inside",
    ),
    "external weights in a function": (
        changed(
            lambda proto: proto.functions.append(
                function("own", helper.make_node("Constant", [], ["b"], value=external_tensor()))
            )
        ),
        "Weights must be inside",
    ),
    "external weights in a training graph": (changed(training(external_tensor())), "Weights must be inside"),
    "external weights in a second half of the graph": (
        GOOD + onnx.ModelProto(graph=graph_with(external_tensor())).SerializeToString(),
        "Weights must be inside",
    ),
    "no inputs": (changed(lambda proto: proto.graph.ClearField("input")), "no inputs, or no outputs"),
    "no outputs": (changed(lambda proto: proto.graph.ClearField("output")), "no inputs, or no outputs"),
    "an input that is a sequence": (
        changed(
            lambda proto: proto.graph.input.append(
                helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, [1])
            )
        ),
        "list is no tensor",
    ),
    "an input of a type that is not served": (
        changed(lambda proto: setattr(proto.graph.input[0].type.tensor_type, "elem_type", TensorProto.BFLOAT16)),
        "x is no tensor",
    ),
    "an input that is always empty": (
        changed(lambda proto: setattr(proto.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 0)),
        "x has an axis of size 0",
    ),
    "an output that is always empty": (
        changed(lambda proto: setattr(proto.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 0)),
        "y has an axis of size 0",
    ),
    "a dictionary of probabilities": (changed(with_zipmap), "'zipmap': False"),
    "an input without a type": (changed(lambda proto: proto.graph.input[0].ClearField("type")), "x is no tensor"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused(name: str) -> None:
    content, reason = BAD_FILES[name]
    with pytest.raises(Refused, match=reason) as refused:
        inspect(content)
    assert {error.pointer for error in refused.value.errors} == {"/body/file"}
    problem = refused.value.problem()
    assert problem.status == 422
    assert reason.split()[-1] in problem.detail


def test_there_are_forty_kinds_of_bad_files() -> None:
    assert len(BAD_FILES) >= 40
    assert len({content for content, _ in BAD_FILES.values()}) == len(BAD_FILES)


def card(**changes: Any) -> UploadedCard:
    return UploadedCard.model_validate(own_card(GOOD) | changes)


def described(side: str = "inputs", **changes: Any) -> dict[str, Any]:
    return {side: [own_card(GOOD)[side][0] | changes]}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"weights": {"file": "-", "sha256": "0" * 64, "bytes": len(GOOD)}}, "/body/card/weights/sha256"),
        ({"weights": {"file": "-", "sha256": "0" * 64, "bytes": 1}}, "/body/card/weights/bytes"),
        (described(name="z"), "/body/card/inputs/0/name"),
        (described(dtype="float64"), "/body/card/inputs/0/dtype"),
        (described(shape=["batch", 5]), "/body/card/inputs/0/shape"),
        (described(shape=["batch", "width"]), "/body/card/inputs/0/shape"),
        (described(shape=["batch"]), "/body/card/inputs/0/shape"),
        (described(shape=[0, 4]), "/body/card/inputs/0/shape"),
        (described("outputs", name="z"), "/body/card/outputs/0/name"),
        (described("outputs", dtype="int8"), "/body/card/outputs/0/dtype"),
        (described("outputs", shape=["batch", 4, 1]), "/body/card/outputs/0/shape"),
        ({"inputs": []}, "/body/card/inputs"),
        ({"outputs": []}, "/body/card/outputs"),
    ],
)
def test_card_that_does_not_fit_names_the_field(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Refused) as refused:
        verify(GOOD, card(**changes))
    assert refused.value.errors[0].pointer == pointer


def test_file_beyond_the_limit_is_refused() -> None:
    with pytest.raises(Refused, match=f"at most {len(GOOD) - 1}"):
        verify(GOOD, card(), most_bytes=len(GOOD) - 1)


@pytest.mark.parametrize("shape", [["batch", 4], [3, 4], ["rows", 4]])
def test_open_axis_may_be_named_or_fixed(shape: list[int | str]) -> None:
    assert verify(GOOD, card(**described(shape=shape))).opsets == {"": 17}


def test_functions_of_the_file_itself_are_no_custom_operators() -> None:
    def change(proto: onnx.ModelProto) -> None:
        proto.functions.append(function("own", helper.make_node("Abs", ["a"], ["b"])))
        proto.graph.node.append(helper.make_node("Own", ["x"], ["z"], domain="own"))

    assert inspect(changed(change)).operators == {("", "Mul"), ("", "Identity"), ("", "Abs")}


def test_draft_is_a_card_once_it_is_completed() -> None:
    draft = draft_card(endless(), name="mine", version="1.2.3")
    assert (draft["task"], draft["licence"]) == ("", "")
    verify(endless(), UploadedCard.model_validate(draft | {"task": "None", "licence": "CC0-1.0"}))


def without_rank(*sides: str) -> bytes:
    """A file that does not say how many axes its inputs, or outputs, have."""

    def change(proto: onnx.ModelProto) -> None:
        for side in sides:
            getattr(proto.graph, side)[0].type.tensor_type.ClearField("shape")

    return changed(change)


@pytest.mark.parametrize("side", ["input", "output"])
def test_an_unknown_rank_has_to_be_filled_in(side: str) -> None:
    content = without_rank(side)
    draft = draft_card(content, name="mine", version="1.0.0", task="-", licence="-")
    described: Any = draft[f"{side}s"]
    assert described[0]["shape"] is None
    assert "how many axes" in described[0]["description"]
    with pytest.raises(ValidationError, match=f"{side}s.0.shape"):
        UploadedCard.model_validate(draft)
    for shape, accepted in (([], False), (["batch", 4], True)):
        described[0]["shape"] = shape
        filled = UploadedCard.model_validate(draft)
        if accepted:
            verify(content, filled)
            continue
        with pytest.raises(Refused, match="does not say how many axes") as refused:
            verify(content, filled)
        assert refused.value.errors[0].pointer == f"/body/card/{side}s/0/shape"


def test_a_single_number_is_one_where_the_file_says_so() -> None:
    def change(proto: onnx.ModelProto) -> None:
        for value in (*proto.graph.input, *proto.graph.output):
            del value.type.tensor_type.shape.dim[:]

    content = changed(change)
    draft: Any = draft_card(content, name="mine", version="1.0.0", task="-", licence="-")
    assert draft["inputs"][0]["shape"] == []
    verify(content, UploadedCard.model_validate(draft))


@pytest.mark.parametrize("domain", HIGHEST_OPSETS)
def test_highest_opset_is_the_one_that_onnxruntime_opens(domain: str) -> None:
    def opens(version: int) -> bool:
        proto = model()
        proto.opset_import[0].version = version if domain == "" else 17
        if domain:
            proto.opset_import.append(helper.make_opsetid(domain, version))
        return session_opens(proto)

    assert opens(HIGHEST_OPSETS[domain])
    assert not opens(HIGHEST_OPSETS[domain] + 1)


def test_highest_ir_version_is_the_one_that_onnxruntime_opens() -> None:
    def opens(version: int) -> bool:
        proto = model()
        proto.ir_version = version
        return session_opens(proto)

    assert opens(HIGHEST_IR_VERSION)
    assert not opens(HIGHEST_IR_VERSION + 1)


def session_opens(proto: onnx.ModelProto) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # a type of its own per failure
        return False
    return True
