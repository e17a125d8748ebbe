"""Large lists of texts are read in pieces, and come out as a parser has them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.inference_protocol import large_numbers, large_texts
from shared.inference_protocol.datatypes import BYTES, DTYPES
from shared.inference_protocol.large_numbers import parse_request
from shared.inference_protocol.large_texts import TextList
from shared.inference_protocol.requests import InferenceRequest, read_request, split_request
from shared.inference_protocol.signature import Signature, Tensor
from shared.problems import Problem


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few texts make several pieces."""
    monkeypatch.setattr(large_numbers, "LARGE_BYTES", 40)
    monkeypatch.setattr(large_texts, "_PIECE_BYTES", 20)


def read(body: bytes, axes: int = 1, *, datatype: str = BYTES) -> InferenceRequest:
    tensor = Tensor("x", datatype, DTYPES[datatype], (-1,) * axes, ("",) * axes)
    signature = Signature("model", "1.0.0", {"x": tensor}, {"x": tensor}, stackable=False)
    return read_request(split_request(body, header_bytes=None), signature=signature)


def body_of(data: str, shape: list[int], *, datatype: str = BYTES) -> bytes:
    entry = json.dumps({"name": "x", "datatype": datatype, "shape": shape})
    return f'{{"inputs": [{entry[:-1]}, "data": {data}}}]}}'.encode()


TEXTS = st.lists(st.text() | st.text('",[]\\{}:\n da'), min_size=40, max_size=80)


@settings(deadline=None)
@given(
    texts=TEXTS,
    plain=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", " : ")]),
)
def test_lists_are_read_as_a_parser_reads_them(texts: list[str], plain: bool, separators: tuple[str, str]) -> None:
    body = body_of(json.dumps(texts, separators=separators, ensure_ascii=not plain), [len(texts)])
    entry = parse_request(body)["inputs"][0]
    assert isinstance(entry["data"], TextList)
    assert len(entry["data"].ends) > 1
    assert read(body).inputs["x"].tolist() == texts


LONG = ", ".join(['"a,\\"]"'] * 50)


@pytest.mark.parametrize(
    ("text", "shape", "status", "words"),
    [
        (f"[{LONG}", [50], 400, "not valid JSON"),
        (f"[{LONG},]", [50], 400, "not valid JSON"),
        (f'[{LONG} "b"]', [51], 400, "not valid JSON"),
        (f'[{LONG}, "b]', [51], 400, "not valid JSON"),
        (f'[{LONG}, "\\x"]', [51], 400, "not valid JSON"),
        (f'[{LONG}, "\n"]', [51], 400, "not valid JSON"),
        (f"[{LONG}]", [49], 422, "has 49 elements, and there are 50"),
        (f"[{LONG}]", [51], 422, "has 51 elements, and there are 50"),
        (f"[{LONG}]", [2**40, 2**40], 422, "and there are 50"),
        (f"[{LONG}]", [0], 422, "and there are 50"),
        (f"[{LONG}, 1]", [51], 422, "Texts are wanted"),
        (f"[{LONG}, null]", [51], 422, "Texts are wanted"),
        (f'[{LONG}, {{"a": "b"}}]', [51], 422, "Texts are wanted"),
    ],
)
def test_what_is_no_such_list_is_refused_as_ever(text: str, shape: list[int], status: int, words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        read(body_of(text, shape), len(shape))
    assert caught.value.status == status


def test_texts_are_no_numbers() -> None:
    with pytest.raises(Problem, match="Elements of FP32") as caught:
        read(body_of(f"[{LONG}]", [50], datatype="FP32"), datatype="FP32")
    assert caught.value.status == 422


def test_a_nested_list_is_read_as_ever() -> None:
    found = read(body_of(f"[[{LONG}], [{LONG}]]", [2, 50]), 2).inputs["x"]
    np.testing.assert_array_equal(found, np.full((2, 50), 'a,"]', object))


@settings(deadline=None)
@given(text=st.text('[]{},:"\\datinpus01 \n', min_size=30, max_size=200))
def test_any_text_is_parsed_as_a_parser_does(text: str) -> None:
    body = ('{"inputs": [{"data": ["' + text).encode()
    try:
        expected = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    assert _restored(parse_request(body)) == expected


@settings(deadline=None)
@given(texts=st.lists(st.text('",[]{}\\: data'), min_size=30, max_size=60))
def test_lists_within_texts_stay_what_they_are(texts: list[str]) -> None:
    body = json.dumps({"id": json.dumps({"data": texts}), "inputs": [{"data": texts}, {"data": [*texts, 1]}]}).encode()
    assert _restored(parse_request(body)) == orjson.loads(body)


def _restored(document: Any) -> Any:
    for item in document["inputs"]:
        if isinstance(item, dict) and isinstance(item.get("data"), TextList):
            item["data"] = item["data"].parsed()
    return document
