"""What tritonclient expects of a server, by its synchronous and its asynchronous client, through the gateway."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferInput, InferRequestedOutput

from tests.support.graphs import TABLE

Array = NDArray[Any]


def given(name: str, array: Array, datatype: str, *, binary: bool = True) -> InferInput:
    """A tensor as the client sends it."""
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


X = np.array([[1, 2, 3, 4], [-0.5, 0, 0.25, 1e30]], np.float32)


def test_the_server_is_live_and_ready_and_says_what_it_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    said = client.get_server_metadata()
    assert said["name"] == "facet"
    assert "binary_tensor_data" in said["extensions"]


def test_metadata_of_a_model(client: Any) -> None:
    assert client.get_model_metadata("mixed") == {
        "name": "mixed",
        "versions": ["1.0.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "whole", "datatype": "INT64", "shape": [-1, 2]},
            {"name": "half", "datatype": "FP16", "shape": [-1, 3]},
            {"name": "flag", "datatype": "BOOL", "shape": [-1]},
        ],
        "outputs": [
            {"name": "double", "datatype": "INT64", "shape": [-1, 2]},
            {"name": "negative", "datatype": "FP16", "shape": [-1, 3]},
            {"name": "opposite", "datatype": "BOOL", "shape": [-1]},
            {"name": "number", "datatype": "UINT8", "shape": [-1]},
        ],
    }


def test_every_version_of_a_model_is_listed_and_ready(client: Any) -> None:
    assert client.get_model_metadata("times")["versions"] == ["1.0.0", "2.0.0"]
    assert client.get_model_metadata("times", "1.0.0")["versions"] == ["1.0.0", "2.0.0"]
    for version in ("", "1.0.0", "2.0.0"):
        assert client.is_model_ready("times", version)
    assert not client.is_model_ready("times", "9.0.0")
    assert not client.is_model_ready("nobody")


def test_configuration_of_a_model_that_batches(client: Any) -> None:
    """Triton leaves the batch axis out of the sizes where max_batch_size is above zero."""
    said = client.get_model_config("times", "1.0.0")
    assert said["name"] == "times"
    assert (said["platform"], said["backend"]) == ("onnxruntime_onnx", "onnxruntime")
    assert said["max_batch_size"] == 16
    assert said["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]
    assert said["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": [4]}]
    assert "dynamic_batching" in said


def test_configuration_of_a_model_that_does_not(client: Any) -> None:
    said = client.get_model_config("fixed")
    assert (said["max_batch_size"], "dynamic_batching" in said) == (0, False)
    assert said["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [2, 3]}]
    assert client.get_model_config("embedding")["input"] == [
        {"name": "index", "data_type": "TYPE_INT64", "dims": [1], "reshape": {"shape": []}}
    ]
    assert client.get_model_config("texts")["input"][0] == {"name": "text", "data_type": "TYPE_STRING", "dims": [-1]}


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_json_and_binary_give_one_answer(client: Any, *, binary_in: bool, binary_out: bool) -> None:
    wanted = [InferRequestedOutput("y", binary_data=binary_out)]
    answer = client.infer("times", [given("x", X, "FP32", binary=binary_in)], outputs=wanted)
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * X)
    (output,) = answer.get_response()["outputs"]
    assert ("data" in output) is not binary_out
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "FP32", [2, 4])


def test_without_wanted_outputs_all_come_as_bytes(client: Any) -> None:
    """Then the client asks by binary_data_output."""
    answer = client.infer("times", [given("x", X, "FP32")])
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * X)
    assert answer.get_output("y")["parameters"] == {"binary_data_size": 32}


@pytest.mark.parametrize("binary", [False, True])
def test_every_kind_of_number_comes_through(client: Any, *, binary: bool) -> None:
    whole = np.array([[2**62 - 1, -(2**62)], [0, 1]], np.int64)
    half = np.array([[65504, 6e-8, -0.1], [1, 2, 3]], np.float16)
    flag = np.array([True, False])
    inputs = [
        given("flag", flag, "BOOL", binary=binary),
        given("whole", whole, "INT64", binary=not binary),
        given("half", half, "FP16", binary=binary),
    ]
    wanted = [InferRequestedOutput(name, binary_data=binary) for name in ("number", "double", "opposite", "negative")]
    answer = client.infer("mixed", inputs, outputs=wanted)
    np.testing.assert_array_equal(answer.as_numpy("double"), 2 * whole)
    np.testing.assert_array_equal(answer.as_numpy("negative"), -half)
    np.testing.assert_array_equal(answer.as_numpy("opposite"), ~flag)
    np.testing.assert_array_equal(answer.as_numpy("number"), flag.astype(np.uint8))
    assert answer.as_numpy("negative").dtype == np.float16
    assert [one["name"] for one in answer.get_response()["outputs"]] == ["number", "double", "opposite", "negative"]


TEXTS = np.array([["", "stop"], ["Vorfahrt gewähren", "一時停止 🚦"], ['quote " \\ \n', "x" * 5000]], object)


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_texts_come_through(client: Any, *, binary_in: bool, binary_out: bool) -> None:
    wanted = [InferRequestedOutput(name, binary_data=binary_out) for name in ("same", "louder")]
    answer = client.infer("texts", [given("text", TEXTS, "BYTES", binary=binary_in)], outputs=wanted)
    same, louder = (_decoded(answer.as_numpy(name)) for name in ("same", "louder"))
    np.testing.assert_array_equal(same, TEXTS)
    np.testing.assert_array_equal(louder, TEXTS + "!")


def _decoded(array: Array) -> Array:
    """The client gives bytes where they came as bytes."""
    decoded = [one.decode() if isinstance(one, bytes) else one for one in array.reshape(-1)]
    return np.array(decoded, object).reshape(array.shape)


def test_only_the_outputs_that_were_asked_for_come(client: Any) -> None:
    answer = client.infer("texts", [given("text", TEXTS, "BYTES")], outputs=[InferRequestedOutput("louder")])
    assert [one["name"] for one in answer.get_response()["outputs"]] == ["louder"]
    assert answer.as_numpy("same") is None


@pytest.mark.parametrize(("version", "factor"), [("", 3), ("1.0.0", 2), ("2.0.0", 3)])
def test_versions_answer_side_by_side(client: Any, version: str, factor: int) -> None:
    answer = client.infer("times", [given("x", X, "FP32")], model_version=version)
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(factor) * X)
    assert answer.get_response()["model_version"] == (version or "2.0.0")
    assert answer.get_response()["model_name"] == "times"
    assert len(answer.get_response()["parameters"]["weights_sha256"]) == 64


@pytest.mark.parametrize("request_id", ["1", "so-and-so", "größer", "x" * 500])
def test_the_callers_id_comes_back(client: Any, request_id: str) -> None:
    assert client.infer("times", [given("x", X, "FP32")], request_id=request_id).get_response()["id"] == request_id
    assert "id" not in client.infer("times", [given("x", X, "FP32")]).get_response()


def test_tensors_may_begin_at_any_byte(client: Any) -> None:
    """The JSON in front has any length, so the numbers behind it are aligned one time in eight."""
    whole, half, flag = np.array([[7, -7]], np.int64), np.array([[1, 2, 3]], np.float16), np.array([True])
    for length in range(16):
        inputs = [given("flag", flag, "BOOL"), given("whole", whole, "INT64"), given("half", half, "FP16")]
        answer = client.infer("mixed", inputs, request_id="x" * length)
        np.testing.assert_array_equal(answer.as_numpy("double"), 2 * whole)
        np.testing.assert_array_equal(answer.as_numpy("negative"), -half)


def test_a_model_without_a_batch_axis_answers(client: Any) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(client.infer("fixed", [given("x", x, "FP32")]).as_numpy("y"), x.T)


def test_more_rows_than_a_batch_holds_are_answered(client: Any) -> None:
    index = np.arange(1000) % 8
    answer = client.infer("embedding", [given("index", index, "INT64")])
    np.testing.assert_array_equal(answer.as_numpy("row"), TABLE[index])


def test_a_timeout_that_is_kept_changes_nothing(client: Any) -> None:
    answer = client.infer("times", [given("x", X, "FP32")], timeout=10_000_000)
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * X)


def test_sequence_and_priority_are_taken_and_do_nothing(client: Any) -> None:
    options = {"sequence_id": 5, "sequence_start": True, "sequence_end": True, "priority": 2}
    answer = client.infer("times", [given("x", X, "FP32")], **options)
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * X)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_an_answer_may_stay_as_it_is_where_a_compressed_one_would_do(client: Any, algorithm: str) -> None:
    answer = client.infer("times", [given("x", X, "FP32")], response_compression_algorithm=algorithm)
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * X)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("model", "name", "shape", "datatype", "output", "answered"),
    [
        ("times", "x", (0, 4), np.float32, "y", (0, 4)),
        ("embedding", "index", (0,), np.int64, "row", (0, 4)),
        ("texts", "text", (2, 0), np.object_, "louder", (2, 0)),
        ("texts", "text", (0, 3), np.object_, "same", (0, 3)),
    ],
)
def test_empty_tensors_go_through(
    client: Any, binary: bool, model: str, name: str, shape: tuple[int, ...], datatype: Any, output: str,
    answered: tuple[int, ...],
) -> None:  # fmt: skip
    """Where the axis may have any size: a graph without edges, a page without words."""
    kind = {np.float32: "FP32", np.int64: "INT64", np.object_: "BYTES"}[datatype]
    tensor = given(name, np.zeros(shape, datatype), kind, binary=binary)
    answer = client.infer(model, [tensor], outputs=[InferRequestedOutput(output, binary_data=binary)])
    assert answer.as_numpy(output).shape == answered


def test_a_null_is_not_a_number_and_comes_back_as_null(client: Any) -> None:
    tensor = given("x", X, "FP32", binary=False)
    tensor._data = [None, *X.reshape(-1)[1:].tolist()]
    answer = client.infer("times", [tensor], outputs=[InferRequestedOutput("y", binary_data=False)])
    found = answer.as_numpy("y")
    assert np.isnan(found[0, 0])
    np.testing.assert_array_equal(found.reshape(-1)[1:], np.float32(3) * X.reshape(-1)[1:])
