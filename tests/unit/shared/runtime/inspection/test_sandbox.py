"""Models are opened for the first time in a process of their own: what becomes of it is told, nothing else happens."""

from __future__ import annotations

import time
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from shared.runtime.cards import UploadedCard
from shared.runtime.inspection.onnx_file import read_onnx
from shared.runtime.inspection.preparation import TrialLimits, prepare
from shared.runtime.inspection.sandbox import require_warm_up, try_model
from shared.runtime.inspection.verification import Refused
from shared.runtime.models.sessions import OnnxModel
from tests.support.own_models import endless, own_card, scale
from tests.support.tiny_models import denoiser


def card(content: bytes, **changes: Any) -> UploadedCard:
    return UploadedCard.model_validate(own_card(content) | changes)


def model(*nodes: onnx.NodeProto, inputs: list[Any], outputs: list[Any], initializer: Any = ()) -> bytes:
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(initializer))
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return content


async def test_a_sound_model_runs() -> None:
    for content in (scale(2), denoiser("mean"), denoiser("brighten")):
        assert await try_model(content, card(content), TrialLimits()) == 64


async def test_a_model_that_takes_other_sizes_only_is_found_to() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["side"])
    wanted = helper.make_tensor("shape", TensorProto.INT64, [2], [4, 8])
    content = model(
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
        inputs=[value],
        outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])],
        initializer=[wanted],
    )
    assert await try_model(content, card(content), TrialLimits()) == 32


async def test_texts_are_taken() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, ["batch"]) for name in ("x", "y"))
    content = model(helper.make_node("Identity", ["x"], ["y"]), inputs=[x], outputs=[y])
    assert await try_model(content, card(content), TrialLimits()) == 64


async def test_an_endless_model_is_given_up_on() -> None:
    began = time.monotonic()
    with pytest.raises(Refused, match="within 3 s"):
        await try_model(endless(), card(endless()), TrialLimits(timeout_s=3))
    assert time.monotonic() - began < 30


async def test_a_model_that_takes_all_memory_is_refused() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.INT64, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    content = model(
        helper.make_node("Constant", [], ["many"], value_ints=[2**34]),
        helper.make_node("Add", ["x", "many"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["y"]),
        inputs=[x],
        outputs=[y],
    )
    with pytest.raises(Refused, match=r"does not (open|run) |ended the process"):
        await try_model(content, card(content), TrialLimits(memory_bytes=2 * 1024**3))


async def test_what_onnxruntime_says_is_passed_on() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("x", "y"))
    content = model(helper.make_node("NoSuchOperator", ["x"], ["y"]), inputs=[x], outputs=[y])
    with pytest.raises(Refused, match="NoSuchOperator"):
        await try_model(content, card(content), TrialLimits())


async def test_answers_of_another_size_than_the_card_says_are_found() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "width"]) for name in ("x", "y"))
    content = model(helper.make_node("Concat", ["x", "x"], ["y"], axis=1), inputs=[x], outputs=[y])
    good = card(content)
    output = good.outputs[0].model_copy(update={"shape": ["batch", 3]})
    with pytest.raises(Refused) as refused:
        await try_model(content, good.model_copy(update={"outputs": [output]}), TrialLimits())
    assert refused.value.errors[0].pointer == "/body/card/outputs/0/shape"


async def test_answers_that_are_no_rows_are_found() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    steps = [
        helper.make_node("Shape", ["x"], ["sides"]),
        helper.make_node("Cast", ["sides"], ["y"], to=TensorProto.FLOAT),
    ]
    content = model(*steps, inputs=[x], outputs=[y])
    with pytest.raises(Refused) as refused:
        await try_model(content, card(content), TrialLimits())
    assert refused.value.errors[0].pointer == "/body/card/outputs/0/shape"


@pytest.mark.parametrize(
    ("warm_up", "pointer"),
    [
        ([], ""),
        ("64", ""),
        ({"height": "64"}, "/height"),
        ({"height": 0}, "/height"),
        ({"height": 10**9}, "/height"),
        ({"height": True}, "/height"),
        ({"inputs": [1]}, "/inputs"),
        ({"inputs": {"z": 1}}, "/inputs/z"),
        ({"inputs": {"x": "red"}}, "/inputs/x"),
        ({"inputs": {"x": True}}, "/inputs/x"),
        ({"inputs": {"x": None}}, "/inputs/x"),
        ({"inputs": {"x": 1e300}}, "/inputs/x"),
        ({"inputs": {"x": []}}, "/inputs/x"),
        ({"inputs": {"x": [1, 2, 3, 4]}}, "/inputs/x"),
        ({"inputs": {"x": [[1, 2, 3]]}}, "/inputs/x"),
        ({"inputs": {"x": [[1, 2, 3, 4], [1]]}}, "/inputs/x"),
        ({"inputs": {"x": [[0, 0, 0, 0]] * 16385}}, "/inputs/x"),
    ],
)
def test_what_to_warm_up_with_is_checked(warm_up: Any, pointer: str) -> None:
    with pytest.raises(Refused) as refused:
        require_warm_up(card(scale(2), parameters={"warm_up": warm_up}))
    assert [error.pointer for error in refused.value.errors] == ["/body/card/parameters/warm_up" + pointer]
    require_warm_up(card(scale(2), parameters={"warm_up": {"height": 48, "inputs": {"x": [[1, 2, 3, 4.5]]}}}))


def divider() -> bytes:
    values = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "width"]) for name in "aby"]
    return model(helper.make_node("Div", ["a", "b"], ["y"]), inputs=values[:2], outputs=values[2:])


def encoder() -> bytes:
    """Refuses texts that it does not know, as scikit-learn's encoders do."""
    x = helper.make_tensor_value_info("x", TensorProto.STRING, ["batch", 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, 2])
    node = helper.make_node(
        "OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml", cats_strings=["red", "blue"], zeros=0
    )  # fmt: skip
    proto = onnx.load_model_from_string(model(node, inputs=[x], outputs=[y]))
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    content: bytes = proto.SerializeToString()
    return content


def number_reader() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.STRING, ["batch"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    return model(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT), inputs=[x], outputs=[y])


@pytest.mark.parametrize(
    ("content", "examples", "reason"),
    [
        (divider(), {"b": 3}, "Div: Integer division by zero"),
        (divider(), {"b": [[1, 2, 3], [4, 5, 6]]}, "Div: Integer division by zero"),
        (encoder(), {"x": "red"}, "OneHotEncoder: Unknown Category"),
        (encoder(), {"x": [["red"], ["blue"]]}, "OneHotEncoder: Unknown Category"),
        (number_reader(), {"x": ["1.5"]}, "Cast: a text is no number"),
    ],
)
async def test_a_model_that_refuses_zeros_runs_on_examples_of_its_card(
    content: bytes, examples: dict[str, Any], reason: str
) -> None:
    prepared = prepare(content, read_onnx(content))
    with pytest.raises(Refused, match=reason) as refused:
        await try_model(prepared, card(content), TrialLimits())
    assert "parameters.warm_up.inputs" in str(refused.value)
    assert refused.value.errors[0].pointer == "/body/card/parameters/warm_up"
    good = card(content, parameters={"warm_up": {"inputs": examples}})
    size = await try_model(prepared, good, TrialLimits())
    assert OnnxModel.made(good, prepared, threads=1, size=size).warm_up() > 0


async def test_refusals_hold_nothing_of_onnxruntimes_source() -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, ["batch"]) for name in "xy")
    content = model(
        helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="xx_YY"),
        inputs=[x],
        outputs=[y],
    )
    with pytest.raises(Refused) as refused:
        await try_model(content, card(content), TrialLimits())
    said = str(refused.value)
    assert "no locale xx_YY" in said
    for token in ("/onnxruntime", ".cc", "::StringNormalizer", "lambda", "ONNXRuntimeError"):
        assert token not in said


def of_one_node(node: onnx.NodeProto, kind: int = TensorProto.FLOAT) -> bytes:
    x, y = (helper.make_tensor_value_info(name, kind, ["n"]) for name in ("x", "y"))
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(node.domain, 1)] if node.domain else [])]
    graph = helper.make_graph([node], "graph", [x], [y])
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (of_one_node(helper.make_node("Gelu", ["x"], ["y"])), "no operator Gelu in opset 17 of ai.onnx"),
        (
            of_one_node(helper.make_node("Odd", ["x"], ["y"], domain="ai.onnx.ml")),
            "no operator Odd in opset 1 of ai.onnx.ml",
        ),
        (
            of_one_node(helper.make_node("Odd", ["x"], ["y"], domain="com.microsoft")),
            "no operator Odd of com.microsoft",
        ),
    ],
    ids=["later opset", "domain of classic models", "domain of the runtime"],
)
async def test_what_is_missing_is_named(content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        await try_model(content, card(content), TrialLimits())


async def test_the_locale_that_is_recommended_works() -> None:
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="C.UTF-8")
    content = of_one_node(node, TensorProto.STRING)
    assert await try_model(content, card(content), TrialLimits()) == 64
