"""Models are opened for the first time in a process of their own: what becomes of it is told, nothing else happens."""

from __future__ import annotations

import time
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from shared.runtime.cards import UploadedCard
from shared.runtime.trials import TrialLimits, try_model, warm_up_sizes
from shared.runtime.verification import Refused
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
    assert time.monotonic() - began < 8


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
    with pytest.raises(Refused, match=r"does not open or run|ended the process"):
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


@pytest.mark.parametrize("sizes", [[], "64", {"height": "64"}, {"height": 0}, {"height": 10**9}, {"height": True}])
def test_sizes_to_warm_up_with_are_checked(sizes: Any) -> None:
    with pytest.raises(Refused):
        warm_up_sizes(card(scale(2), parameters={"warm_up": sizes}))
    assert warm_up_sizes(card(scale(2), parameters={"warm_up": {"height": 48}})) == {"height": 48}
