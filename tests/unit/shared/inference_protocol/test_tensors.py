"""Tensors through requests and answers, bytes and JSON, for every datatype."""

from __future__ import annotations

import itertools
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from shared.inference_protocol.answers import write_answer
from shared.inference_protocol.configuration import configuration_of
from shared.inference_protocol.datatypes import BYTES, DTYPES, datatype_of
from shared.inference_protocol.requests import InferenceRequest, read_request, split_request
from shared.inference_protocol.signature import Signature, Tensor
from shared.problems import Problem, UnprocessableContent

Array = NDArray[Any]

NUMBERS = sorted(DTYPES.keys() - {BYTES})
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, max_side=5)


def signature_of_tensors(**arrays: tuple[str, int]) -> Signature:
    """A model whose inputs, and outputs, have these datatypes and numbers of axes, of any size."""
    tensors = {
        name: Tensor(name, datatype, DTYPES[datatype], (-1,) * axes, ("",) * axes)
        for name, (datatype, axes) in arrays.items()
    }
    return Signature("model", "1.0.0", tensors, tensors, stackable=False)


def raw_of(array: Array, datatype: str) -> bytes:
    """As Triton's binary tensor extension writes it."""
    if datatype != BYTES:
        return array.astype(DTYPES[datatype]).tobytes()
    encoded = [str(text).encode() for text in array.reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def binary_request(tensors: dict[str, tuple[str, Array]], **members: Any) -> tuple[bytes, int]:
    raw = {name: raw_of(array, datatype) for name, (datatype, array) in tensors.items()}
    listed = [
        {
            "name": name,
            "datatype": datatype,
            "shape": list(array.shape),
            "parameters": {"binary_data_size": len(raw[name])},
        }
        for name, (datatype, array) in tensors.items()
    ]
    header = json.dumps({"inputs": listed} | members).encode()
    return header + b"".join(raw.values()), len(header)


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, tuple[str, Array]]:
    """One to four of any datatype and shape."""
    found: dict[str, tuple[str, Array]] = {}
    for number in range(draw(st.integers(1, 4))):
        datatype, shape = draw(st.sampled_from([*NUMBERS, BYTES])), draw(SHAPES)
        if datatype == BYTES:
            array = draw(arrays_of.arrays(object, shape, elements=st.text(st.characters(codec="utf-8"), max_size=12)))
        else:
            array = draw(arrays_of.arrays(DTYPES[datatype], shape))
        found[f"tensor {number}"] = datatype, np.asarray(array)
    return found


@settings(deadline=None)
@given(tensors=tensors(), request_id=st.text(st.characters(codec="utf-8"), max_size=20))
def test_bytes_come_in_as_they_are_and_are_not_copied(tensors: dict[str, tuple[str, Array]], request_id: str) -> None:
    signature = signature_of_tensors(**{name: (kind, array.ndim) for name, (kind, array) in tensors.items()})
    body, header_bytes = binary_request(tensors, id=request_id)
    asked = read_request(split_request(body, header_bytes=header_bytes), signature=signature)
    whole = np.frombuffer(body, np.uint8)
    assert asked.id == request_id
    for name, (datatype, array) in tensors.items():
        found = asked.inputs[name]
        assert (found.shape, found.dtype) == (array.shape, DTYPES[datatype])
        assert raw_of(found, datatype) == raw_of(array, datatype)
        if datatype != BYTES:
            assert np.shares_memory(found, whole)
            assert not found.flags.writeable


@settings(deadline=None)
@given(tensors=tensors(), data=st.data())
def test_answers_are_read_back_as_they_were(tensors: dict[str, tuple[str, Array]], data: st.DataObject) -> None:
    """By a reader of this test's own: JSON in front, raw tensors one behind the other."""
    signature = signature_of_tensors(**{name: (kind, array.ndim) for name, (kind, array) in tensors.items()})
    outputs = {name: array for name, (_, array) in tensors.items()}
    raw = {name: data.draw(st.booleans()) for name in outputs}
    body, header_bytes = write_answer(signature, outputs, raw=raw, request_id="id", digest="d" * 64)
    assert (header_bytes is not None) is any(raw.values())
    document = json.loads(body[:header_bytes])
    assert (document["id"], document["parameters"]) == ("id", {"weights_sha256": "d" * 64})
    rest = b"" if header_bytes is None else body[header_bytes:]
    for entry, (name, (datatype, array)) in zip(document["outputs"], tensors.items(), strict=True):
        assert (entry["name"], entry["datatype"], entry["shape"]) == (name, datatype, list(array.shape))
        if raw[name]:
            size = entry["parameters"]["binary_data_size"]
            assert rest[:size] == raw_of(array, datatype)
            rest = rest[size:]
        else:
            _require_same(entry["data"], array, datatype)
    assert rest == b""


def _require_same(listed: list[Any], array: Array, datatype: str) -> None:
    flat = array.reshape(-1)
    if datatype == BYTES:
        assert listed == flat.tolist()
        return
    if flat.dtype.kind == "f":  # JSON has no word for what is no finite number
        assert [number is None for number in listed] == (~np.isfinite(flat)).tolist()
        listed = [0 if number is None else number for number in listed]
        flat = np.where(np.isfinite(flat), flat, flat.dtype.type(0))
    np.testing.assert_array_equal(np.array(listed, flat.dtype), flat)


@settings(deadline=None)
@given(datatype=st.sampled_from(NUMBERS), shape=SHAPES, nested=st.booleans(), data=st.data())
def test_json_comes_in_flat_or_nested(datatype: str, shape: tuple[int, ...], nested: bool, data: st.DataObject) -> None:
    finite: dict[str, Any] = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
    dtype = DTYPES[datatype]
    array = np.asarray(data.draw(arrays_of.arrays(dtype, shape, elements=arrays_of.from_dtype(dtype, **finite))))
    listed = array.tolist() if nested and shape else array.reshape(-1).tolist()
    entry = {"name": "x", "datatype": datatype, "shape": list(shape), "data": listed}
    asked = read_json(entry, signature_of_tensors(x=(datatype, len(shape))))
    assert asked.inputs["x"].dtype == dtype
    np.testing.assert_array_equal(asked.inputs["x"], array)


def read_json(entry: dict[str, Any], signature: Signature) -> InferenceRequest:
    return read_request(split_request(json.dumps({"inputs": [entry]}).encode(), header_bytes=None), signature=signature)


INTEGERS = [name for name in NUMBERS if "INT" in name]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_whole_numbers_end_where_their_datatype_does(datatype: str) -> None:
    limits, signature = np.iinfo(DTYPES[datatype]), signature_of_tensors(x=(datatype, 1))
    entry = {"name": "x", "datatype": datatype, "shape": [2]}
    asked = read_json(entry | {"data": [int(limits.min), int(limits.max)]}, signature)
    assert asked.inputs["x"].tolist() == [limits.min, limits.max]
    for beyond in (int(limits.min) - 1, int(limits.max) + 1, 0.5, 10**30):
        with pytest.raises(UnprocessableContent) as caught:
            read_json(entry | {"data": [0, beyond]}, signature)
        assert caught.value.errors[0].pointer == "/body/inputs/0/data"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([2.0, 1e3], [2, 1000]),
        ([2**62 + 1, 3.0], [2**62 + 1, 3]),
        ([[1], [-2.0]], [1, -2]),
        ([-(2**63), 1], [-(2**63), 1]),
    ],
)
def test_whole_numbers_may_be_written_with_a_point(data: list[Any], expected: list[int]) -> None:
    entry = {"name": "x", "datatype": "INT64", "shape": [2], "data": data}
    assert read_json(entry, signature_of_tensors(x=("INT64", 1))).inputs["x"].tolist() == expected


@pytest.mark.parametrize("datatype", [*INTEGERS, "FP16", "FP32", "FP64"])
@pytest.mark.parametrize("data", [[True, 7], [7, False], [[True], [1.5]], [True, False], [[1], [True]], [True, None]])
def test_truth_is_no_number(datatype: str, data: list[Any]) -> None:
    entry = {"name": "x", "datatype": datatype, "shape": [2], "data": data}
    with pytest.raises(UnprocessableContent, match=f"Elements of {datatype}"):
        read_json(entry, signature_of_tensors(x=(datatype, 1)))


@pytest.mark.parametrize("data", [[True, 1], [0, False], [True, None], [1.0, 0.0], ["true", True]])
def test_numbers_are_no_truth(data: list[Any]) -> None:
    entry = {"name": "x", "datatype": "BOOL", "shape": [2], "data": data}
    with pytest.raises(UnprocessableContent, match="Elements of BOOL"):
        read_json(entry, signature_of_tensors(x=("BOOL", 1)))


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
@pytest.mark.parametrize("data", [[None, 1.5], [[None], [2]], [None, None]])
def test_null_is_not_a_number(datatype: str, data: list[Any]) -> None:
    """As answers write NaN, so that one of them can be sent on to the next model."""
    entry = {"name": "x", "datatype": datatype, "shape": [2], "data": data}
    found = read_json(entry, signature_of_tensors(x=(datatype, 1))).inputs["x"]
    flat = np.array(data, object).reshape(-1)
    assert np.isnan(found).tolist() == [number is None for number in flat]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_null_is_no_whole_number(datatype: str) -> None:
    entry = {"name": "x", "datatype": datatype, "shape": [2], "data": [None, 1]}
    with pytest.raises(UnprocessableContent, match=f"Elements of {datatype}"):
        read_json(entry, signature_of_tensors(x=(datatype, 1)))


def test_bytes_that_are_no_truth_are_refused() -> None:
    signature, array = signature_of_tensors(x=("BOOL", 1)), np.array([0, 1, 2], np.uint8)
    body, header_bytes = binary_request({"x": ("BOOL", array.view(np.bool_))})
    body = body[:header_bytes] + array.tobytes()
    with pytest.raises(UnprocessableContent, match="0 or 1; one is 2"):
        read_request(split_request(body, header_bytes=header_bytes), signature=signature)


@pytest.mark.parametrize("datatype", [*NUMBERS, BYTES])
@pytest.mark.parametrize(
    ("shape", "data"), [([0], []), ([0, 3], []), ([2, 0], [[], []]), ([2, 0], []), ([1, 0, 2], [[]])]
)
def test_tensors_may_be_empty(datatype: str, shape: list[int], data: list[Any]) -> None:
    signature = signature_of_tensors(x=(datatype, len(shape)))
    entry = {"name": "x", "datatype": datatype, "shape": shape}
    by_json = read_json(entry | {"data": data}, signature).inputs["x"]
    body, header_bytes = binary_request({"x": (datatype, np.zeros(shape, DTYPES[datatype]))})
    by_bytes = read_request(split_request(body, header_bytes=header_bytes), signature=signature).inputs["x"]
    for found in (by_json, by_bytes):
        assert (list(found.shape), found.dtype) == (shape, DTYPES[datatype])


@pytest.mark.parametrize("request_id", [None, ""])
def test_an_id_of_null_is_none(request_id: str | None) -> None:
    body = json.dumps({"id": request_id, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})
    asked = read_request(split_request(body.encode(), header_bytes=None), signature=signature_of_tensors(x=("FP32", 1)))
    assert asked.id == ""


@pytest.mark.parametrize(("datatype", "beyond"), [("FP16", 65536), ("FP32", 3.5e38), ("FP16", -1e300)])
def test_no_number_becomes_infinity(datatype: str, beyond: float) -> None:
    entry = {"name": "x", "datatype": datatype, "shape": [1], "data": [beyond]}
    with pytest.raises(UnprocessableContent, match="one is beyond"):
        read_json(entry, signature_of_tensors(x=(datatype, 1)))


@settings(deadline=None)
@given(body=st.binary(max_size=200), header_bytes=st.none() | st.integers(0, 250))
def test_no_body_makes_it_stumble(body: bytes, header_bytes: int | None) -> None:
    """Whatever comes, it is read or is a problem."""
    with pytest.raises(Problem):
        read_request(split_request(body, header_bytes=header_bytes), signature=signature_of_tensors(x=("FP32", 1)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(
    name=JSON | st.just("x"),
    shape=JSON | st.just([1]),
    datatype=JSON | st.just("FP32"),
    data=JSON,
    parameters=JSON | st.fixed_dictionaries({"binary_data_size": JSON}),
    outputs=JSON | st.just([{"name": "x"}]),
    rest=JSON,
)
def test_no_json_makes_it_stumble(outputs: Any, rest: Any, **entry: Any) -> None:
    document = {"inputs": [entry], "outputs": outputs, "parameters": rest}
    body = json.dumps(document).encode("utf-8", "replace")
    for header_bytes, kind in itertools.product((None, len(body)), ("FP32", "INT64", BYTES)):
        try:
            read_request(split_request(body, header_bytes=header_bytes), signature=signature_of_tensors(x=(kind, 1)))
        except Problem as problem:
            assert problem.status in (400, 422)


@pytest.mark.parametrize(
    ("dtype", "datatype"), [("float32", "FP32"), ("float16", "FP16"), ("bool", "BOOL"), ("uint8", "UINT8"),
                            ("int64", "INT64"), ("string", BYTES)]
)  # fmt: skip
def test_names_of_cards_in_the_protocol(dtype: str, datatype: str) -> None:
    assert datatype_of(dtype) == datatype


def test_a_dtype_that_the_protocol_does_not_know() -> None:
    with pytest.raises(KeyError):
        datatype_of("complex64")


def test_the_configuration_of_a_batch_leaves_its_axis_out() -> None:
    tensor = Tensor("x", "FP32", DTYPES["FP32"], (-1, 3, -1), ("batch", "", "width"))
    signature = Signature("model", "1.0.0", {"x": tensor}, {"y": tensor}, stackable=True)
    said = configuration_of(signature, rows=8)
    assert (said.max_batch_size, said.input[0].dims, said.dynamic_batching is None) == (8, [3, -1], False)
