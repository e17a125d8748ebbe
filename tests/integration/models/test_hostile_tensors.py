"""Tensors that would end the process that runs a model as its file has it: everybody gets an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.integration.models.conftest import Bench, factor
from tests.support.own_models import form, own_card

LOW = int(np.iinfo(np.int32).min)


def file_of(nodes: list[Any], inputs: list[Any], output: Any, constants: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def divider() -> bytes:
    """y = a / (b + 1) on whole numbers: its divisor is known within a run only."""
    a, b, y = (helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "width"]) for name in "aby")
    nodes = [helper.make_node("Add", ["b", "one"], ["c"]), helper.make_node("Div", ["a", "c"], ["y"])]
    return file_of(nodes, [a, b], y, [numpy_helper.from_array(np.array(1, np.int32), "one")])


def recurrent() -> bytes:
    """A GRU over the rows that are above zero."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["length", 1, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["steps", 1, 1, 3])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1, 2], keepdims=0),
        helper.make_node("Greater", ["most", "nothing"], ["wanted"]),
        helper.make_node("Compress", ["x", "wanted"], ["rest"], axis=0),
        helper.make_node("GRU", ["rest", "w", "r"], ["y"], hidden_size=3),
    ]
    constants = [
        numpy_helper.from_array(np.array(-1, np.float32), "nothing"),
        numpy_helper.from_array(np.ones((1, 9, 2), np.float32), "w"),
        numpy_helper.from_array(np.ones((1, 9, 3), np.float32), "r"),
    ]
    return file_of(nodes, [x], y, constants)


def tensor(name: str, datatype: str, values: Any) -> dict[str, Any]:
    array = np.array(values)
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.reshape(-1).tolist()}


async def infer(bench: Bench, name: str, *tensors: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = await bench.gateway.post(f"/v2/models/{name}/infer", json={"inputs": tensors})
    return answer.status_code, answer.json()


async def test_the_smallest_integer_divided_by_minus_one_wraps(bench: Bench) -> None:
    content = divider()
    uploaded = await bench.gateway.post("/v1/models", files=form(content, own_card(content, name="divider")))
    assert uploaded.status_code == 201, uploaded.text
    status, answer = await infer(
        bench, "divider", tensor("a", "INT32", [[LOW, 7, -7]]), tensor("b", "INT32", [[-2, 1, -3]])
    )
    assert (status, answer["outputs"][0]["data"]) == (200, [LOW, 3, 3])
    status, answer = await infer(bench, "divider", tensor("a", "INT32", [[1]]), tensor("b", "INT32", [[-1]]))
    assert (status, answer["errors"][0]["pointer"]) == (422, "/body/inputs")
    assert answer["detail"] == "The model cannot compute these tensors: Div: Integer division by zero"
    await bench.upload(2)
    assert await factor(bench.gateway) == ("1.0.0", 2.0)


async def test_a_sequence_of_which_nothing_is_left_is_a_problem(bench: Bench) -> None:
    content = recurrent()
    uploaded = await bench.gateway.post("/v1/models", files=form(content, own_card(content, name="recurrent")))
    assert uploaded.status_code == 201, uploaded.text
    for value, expected in ((1.0, 200), (-2.0, 422)):
        status, answer = await infer(bench, "recurrent", tensor("x", "FP32", [[[value, value]]]))
        assert status == expected, answer
    assert "GRU: its input is empty" in answer["detail"]
    await bench.upload(2)
    assert await factor(bench.gateway) == ("1.0.0", 2.0)


@pytest.mark.parametrize("examples", [None, {"b": 4}])
async def test_a_model_that_zeros_do_not_suit_is_served_once_its_card_has_examples(bench: Bench, examples: Any) -> None:
    a, b, y = (helper.make_tensor_value_info(name, TensorProto.INT32, ["batch"]) for name in "aby")
    content = file_of([helper.make_node("Div", ["a", "b"], ["y"])], [a, b], y, [])
    parameters = {"warm_up": {"inputs": examples}} if examples else {}
    card = own_card(content, name="divider", parameters=parameters)
    answer = await bench.gateway.post("/v1/models", files=form(content, card))
    if examples is None:
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/card/parameters/warm_up")
        assert "parameters.warm_up.inputs" in answer.json()["detail"]
        return
    assert answer.status_code == 201, answer.text
    assert (await infer(bench, "divider", tensor("a", "INT32", [9]), tensor("b", "INT32", [4])))[0] == 200
