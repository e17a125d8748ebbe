"""Large lists of numbers are read and written in pieces, and come out as a parser has them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.inference_protocol import large_numbers
from shared.inference_protocol.datatypes import DTYPES
from shared.inference_protocol.large_numbers import NumberText, parse_request, render_answer
from shared.inference_protocol.requests import InferenceRequest, read_request, split_request
from shared.inference_protocol.signature import Signature, Tensor
from shared.problems import Problem

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few numbers make several pieces."""
    monkeypatch.setattr(large_numbers, "LARGE_BYTES", 40)
    monkeypatch.setattr(large_numbers, "LARGE_ELEMENTS", 7)


def signature(datatype: str, axes: int) -> Signature:
    tensor = Tensor("x", datatype, DTYPES[datatype], (-1,) * axes, ("",) * axes)
    return Signature("model", "1.0.0", {"x": tensor}, {"x": tensor}, stackable=False)


def read(body: bytes, datatype: str, axes: int) -> InferenceRequest:
    return read_request(split_request(body, header_bytes=None), signature=signature(datatype, axes))


def body_of(data: str, datatype: str, shape: list[int], **members: Any) -> bytes:
    entry = {"name": "x", "datatype": datatype, "shape": shape, **members}
    return json.dumps({"inputs": [entry]}).replace("}]}", f', "data": {data}}}]}}').encode()


SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).filter(lambda shape: 30 <= math.prod(shape) <= 400)


@settings(deadline=None)
@given(
    shape=SHAPES,
    nested=st.booleans(),
    datatype=st.sampled_from(["FP32", "FP64", "INT32", "INT64", "UINT64"]),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", " : ")]),
    data=st.data(),
)
def test_lists_are_read_as_a_parser_reads_them(
    shape: list[int], nested: bool, datatype: str, separators: tuple[str, str], data: st.DataObject
) -> None:
    limits = (-(2**31), 2**31 - 1) if datatype == "INT32" else (0 if datatype[0] == "U" else -(2**63), 2**63 - 1)
    whole = st.integers(*limits)
    floats = st.none() | st.floats(-1e30, 1e30) | st.integers(-(10**6), 10**6)
    elements = data.draw(st.lists(floats if datatype[0] == "F" else whole, min_size=4, max_size=4))
    flat = (elements * math.prod(shape))[: math.prod(shape)]
    listed = np.array(flat, object).reshape(shape).tolist() if nested else flat
    body = body_of(json.dumps(listed, separators=separators), datatype, shape)
    entry = parse_request(body)["inputs"][0]
    assert isinstance(entry["data"], NumberText)
    found = read(body, datatype, len(shape)).inputs["x"]
    np.testing.assert_array_equal(found, np.array(flat, DTYPES[datatype]).reshape(shape))


LONG = ", ".join(["1"] * 50)


@pytest.mark.parametrize(
    ("text", "shape", "status", "words"),
    [
        (f"[{LONG}", [50], 400, "not valid JSON"),
        (f"[{LONG},]", [50], 400, "not valid JSON"),
        (f"[,{LONG}]", [51], 400, "not valid JSON"),
        (f"[{LONG}, 1 2]", [51], 400, "not valid JSON"),
        (f"[{LONG}, 01]", [51], 400, "not valid JSON"),
        (f"[{LONG}, nul]", [51], 400, "not valid JSON"),
        (f"[{LONG}, NaN]", [51], 400, "not valid JSON"),
        (f"[1[{LONG}]]", [1, 50], 400, "not valid JSON"),
        (f"[1[,{LONG}]]", [1, 51], 400, "not valid JSON"),
        (f"[[{LONG}]1]", [1, 50], 400, "not valid JSON"),
        (f"[[{LONG}]", [1, 50], 400, "not valid JSON"),
        (f"[[{LONG}], [{LONG}, 1]]", [2, 50], 422, "differ in length"),
        (f"[[{LONG}], 1]", [51], 422, "differ in length"),
        (f"[{LONG}]", [49], 422, "has 49 elements, and there are 50"),
        (f"[{LONG}]", [51], 422, "has 51 elements, and there are 50"),
        (f"[{LONG}]", [2**40, 2**40], 422, "and there are 50"),
        (f"[{LONG}]", [0], 422, "and there are 50"),
        (f"[{LONG}, true]", [51], 422, "Elements of FP32"),
        (f'[{LONG}, "1"]', [51], 422, "Elements of FP32"),
        (f"[{LONG}, {{}}]", [51], 422, "Elements of FP32"),
        (f"[{LONG}, 1e39]", [51], 422, "one is beyond"),
    ],
)
def test_what_is_no_such_list_is_refused_as_ever(text: str, shape: list[int], status: int, words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        read(body_of(text, "FP32", shape), "FP32", len(shape))
    assert caught.value.status == status


@pytest.mark.parametrize("shape", [[50], [5, 10], [50, 1]])
def test_another_nesting_than_the_shape_is_taken_as_ever(shape: list[int]) -> None:
    found = read(body_of(f"[[{LONG}]]", "FP32", shape), "FP32", len(shape)).inputs["x"]
    np.testing.assert_array_equal(found, np.ones(shape))


def test_a_list_elsewhere_stays_where_it_is() -> None:
    elsewhere = f'{{"data": [{LONG}], "inputs": [{{"parameters": {{"data": [{LONG}]}}, "data": [{LONG}]}}]}}'.encode()
    within = json.dumps({"id": f'"data": [{LONG}]', "inputs": []}).encode()
    twice = f'{{"inputs": [{{"data": [{LONG}], "data": [{LONG}, 2]}}]}}'.encode()
    for body in (elsewhere, within, twice):
        assert parse_request(body) == orjson.loads(body)


@settings(deadline=None)
@given(text=st.text('[]{},:"datinpus01 \n', min_size=30, max_size=200))
def test_any_text_is_parsed_as_a_parser_does(text: str) -> None:
    body = ('{"inputs": [{"data": [' + text).encode()
    try:
        expected = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    found = parse_request(body)
    for item in found["inputs"]:
        if isinstance(item, dict) and isinstance(item.get("data"), NumberText):
            item["data"] = item["data"].parsed()
    assert found == expected


@pytest.mark.parametrize("count", [0, 1, 7, 8, 14, 100])
def test_answers_are_written_as_ever(count: int) -> None:
    for elements in (
        np.arange(count) / 3,
        np.arange(count) - 2,
        np.full(count, np.nan),
        [f'"{n},]' for n in range(count)],
    ):
        document = {
            "id": "a",
            "outputs": [{"name": "x", "data": elements}, {"name": "y", "data": elements}, {"name": "z"}],
        }
        expected = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        assert render_answer(document) == expected
