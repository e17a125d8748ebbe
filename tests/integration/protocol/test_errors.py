"""What clients do wrong: each gets a status, a message and a problem, and the connection lives on."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from shared.http.fleet import FLEET_TOKEN_HEADER
from tests.integration.protocol.conftest import Fleet
from tests.integration.protocol.test_conformance import X, given
from tests.support.serving import FLEET_TOKEN

Call = Callable[[Any], Any]


def times(**options: Any) -> Call:
    return lambda client: client.infer("times", [given("x", X, "FP32")], **options)


def altered(binary: bool, **attributes: Any) -> Call:
    """The good request with something in its tensor that no client of good will sends."""

    def call(client: Any) -> Any:
        tensor = given("x", X, "FP32", binary=binary)
        for name, value in attributes.items():
            setattr(tensor, f"_{name}", value)
        return client.infer("times", [tensor])

    return call


def one(name: str, array: Any, datatype: str, *, model: str = "times", binary: bool = True) -> Call:
    return lambda client: client.infer(model, [given(name, np.asarray(array), datatype, binary=binary)])


def with_shared_memory(client: Any) -> Any:
    tensor = InferInput("x", [2, 4], "FP32")
    tensor.set_shared_memory("region", 32)
    return client.infer("times", [tensor])


def with_output_in_shared_memory(client: Any) -> Any:
    output = InferRequestedOutput("y")
    output.set_shared_memory("region", 32)
    return times(outputs=[output])(client)


def twice(client: Any) -> Any:
    return client.infer("times", [given("x", X, "FP32"), given("x", X, "FP32")])


def disagreeing(client: Any) -> Any:
    half, flag = np.zeros((3, 3), np.float16), np.zeros(2, bool)
    whole = given("whole", np.zeros((2, 2), np.int64), "INT64")
    return client.infer("mixed", [whole, given("half", half, "FP16"), given("flag", flag, "BOOL")])


def missing(client: Any) -> Any:
    return client.infer("mixed", [given("flag", np.zeros(2, bool), "BOOL")])


def infinite(value: float) -> Call:
    return one("x", np.full((1, 4), value, np.float32), "FP32", binary=False)


def numbers(datatype: str, *data: Any) -> Call:
    """JSON numbers for the input of "mixed" that has this datatype."""

    def call(client: Any) -> Any:
        inputs = {
            "INT64": given("whole", np.zeros((1, 2), np.int64), "INT64", binary=False),
            "FP16": given("half", np.zeros((1, 3), np.float16), "FP16", binary=False),
            "BOOL": given("flag", np.zeros(1, bool), "BOOL", binary=False),
        }
        inputs[datatype]._data = list(data)
        return client.infer("mixed", list(inputs.values()))

    return call


def nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def texts(data: Any) -> Call:
    def call(client: Any) -> Any:
        tensor = given("text", np.array([["a"]], object), "BYTES", binary=False)
        tensor._data = data
        return client.infer("texts", [tensor])

    return call


def raw_texts(raw: bytes) -> Call:
    def call(client: Any) -> Any:
        tensor = given("text", np.array([["a"]], object), "BYTES")
        tensor._raw_data = raw
        tensor._parameters = {"binary_data_size": len(raw)}
        return client.infer("texts", [tensor])

    return call


def raw_truth(raw: bytes) -> Call:
    def call(client: Any) -> Any:
        flag = given("flag", np.ones(1, bool), "BOOL")
        flag._raw_data = raw
        half, whole = np.zeros((1, 3), np.float16), np.zeros((1, 2), np.int64)
        return client.infer("mixed", [given("whole", whole, "INT64"), given("half", half, "FP16"), flag])

    return call


ERRORS: dict[str, tuple[Call, int, str]] = {
    "wrong shape": (one("x", np.zeros((1, 5), np.float32), "FP32"), 422, "x has the shape [batch, 4]"),
    "wrong rank": (one("x", np.zeros(4, np.float32), "FP32"), 422, "x has the shape [batch, 4]"),
    "wrong dtype": (one("x", np.zeros((1, 4), np.float64), "FP64"), 422, "x is FP32"),
    "a dtype that is none": (altered(True, datatype="FP33"), 422, "x is FP32"),
    "unknown model": (lambda client: client.infer("nobody", [given("x", X, "FP32")]), 404, "no such model"),
    "unknown version": (times(model_version="9.9.9"), 404, "no model times 9.9.9"),
    "a version that is none": (times(model_version="newest"), 404, "no model times newest"),
    "unknown input": (one("z", X, "FP32"), 422, "no such input; it has: x"),
    "unknown output": (times(outputs=[InferRequestedOutput("z")]), 422, "no such output; it has: y"),
    "short body": (altered(True, raw_data=X.tobytes()[:-1]), 400, "ends 1 bytes before"),
    "long body": (altered(True, raw_data=X.tobytes() + b"12"), 400, "2 bytes more"),
    "size of a tensor": (
        altered(True, raw_data=X.tobytes()[:-4], parameters={"binary_data_size": 28}), 422, "has 32 bytes; this says 28"
    ),
    "size that is negative": (altered(True, parameters={"binary_data_size": -1}), 422, "whole number from zero"),
    "size that is a text": (altered(True, parameters={"binary_data_size": "32"}), 422, "whole number from zero"),
    "ragged": (altered(False, data=[[1, 2, 3, 4], [5, 6, 7]]), 422, "differ in length"),
    "too few": (altered(False, data=[1, 2, 3]), 422, "has 8 elements, and there are 3"),
    "texts for numbers": (altered(False, data=["1"] * 8), 422, "Elements of FP32"),
    "null for whole numbers": (numbers("INT64", None, 1), 422, "Elements of INT64"),
    "truth among numbers": (altered(False, data=[True, 1.5, 2, 3, 4, 5, 6, 7]), 422, "Elements of FP32"),
    "bytes that are no truth": (raw_truth(b"\x02"), 422, "bytes are 0 or 1; one is 2"),
    "objects for numbers": (altered(False, data=[{}] * 8), 422, "Elements of FP32"),
    "nothing": (altered(False, data=[]), 422, "and there are 0"),
    "no list": (altered(False, data=5), 422, "must be a list"),
    "deep": (altered(False, data=nested(900, 1)), 422, "more than 64 deep"),
    "deep texts": (texts(nested(900, "a")), 422, "deep"),
    "NaN": (infinite(np.nan), 400, "not valid JSON"),
    "infinity": (infinite(np.inf), 400, "not valid JSON"),
    "too large for FP32": (altered(False, data=[1e39] * 8), 422, "FP32"),
    "too large for FP16": (numbers("FP16", 1, 2, 70000), 422, "FP16"),
    "2^63": (numbers("INT64", 1, 2**63), 422, "Whole numbers from -9223372036854775808"),
    "2^64": (numbers("INT64", 2**64, 1), 422, "Whole numbers"),
    "10^400": (numbers("INT64", 10**400, 1), 400, "not valid JSON"),
    "halves": (numbers("INT64", 0.5, 1), 422, "Whole numbers"),
    "numbers for truth": (numbers("BOOL", 1), 422, "Elements of BOOL"),
    "truth for numbers": (numbers("INT64", True, False), 422, "Elements of INT64"),
    "numbers for texts": (texts([1]), 422, "Texts are wanted"),
    "text beyond its end": (raw_texts(b"\x05\0\0\0ab"), 422, "longer than what is left"),
    "half a length": (raw_texts(b"\x05\0"), 422, "longer than what is left"),
    "two texts for one": (raw_texts(b"\x01\0\0\0a\x01\0\0\0b"), 422, "has 1 elements, and there are 2"),
    "bytes that are no text": (raw_texts(b"\x01\0\0\0\xff"), 422, "not UTF-8"),
    "given twice": (twice, 422, "given twice"),
    "missing input": (missing, 422, "also needs: whole, half"),
    "no inputs": (lambda client: client.infer("times", []), 422, "also needs: x"),
    "batches that differ": (disagreeing, 422, "axis batch has the size 2 in one input and 3"),
    "shared memory": (with_shared_memory, 422, "Shared memory is not offered"),
    "output in shared memory": (with_output_in_shared_memory, 422, "not offered"),
    "classification": (times(outputs=[InferRequestedOutput("y", class_count=2)]), 422, "not offered"),
    "timeout that is negative": (times(timeout=-1), 422, "whole number from zero"),
    "index out of range": (one("index", [1, 99], "INT64", model="embedding"), 422, "element out of data bounds"),
    "rest of a reshape": (one("x", np.zeros((1, 3), np.float32), "FP32", model="eights"), 422, "cannot be reshaped"),
}  # fmt: skip


@pytest.mark.parametrize("what", ERRORS)
def test_the_client_raises_with_status_and_message(client: Any, what: str) -> None:
    call, status, words = ERRORS[what]
    for _ in range(2):  # over one connection
        with pytest.raises(InferenceServerException) as caught:
            call(client)
        assert str(status) in (caught.value.status() or ""), caught.value
        assert words in caught.value.message()
    answer = client.infer("times", [given("x", X, "FP32")])
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * X)


class Plain:
    """One connection, and no other: what closes it makes the next request fail."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        self._connection.connect()
        self._connection.auto_open = 0

    def ask(self, body: bytes, *, path: str = "/v2/models/times/infer", **headers: str) -> tuple[int, Any, str]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("POST", path, body, fields)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.getheader("Content-Type", "")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def plain(fleet: Fleet) -> Iterator[Plain]:
    made = Plain(fleet.url)
    yield made
    made.close()


def good(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": X.tolist()}]} | changes


GOOD = json.dumps(good()).encode()
LENGTH = "Inference_Header_Content_Length"


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (GOOD, {LENGTH: str(len(GOOD) + 1)}, 400, f"says {len(GOOD) + 1} bytes"),
        (GOOD, {LENGTH: "0"}, 400, "not valid JSON"),
        (GOOD, {LENGTH: "5"}, 400, "not valid JSON"),
        (GOOD, {LENGTH: "-1"}, 400, "must be the number of bytes"),
        (GOOD, {LENGTH: "many"}, 400, "must be the number of bytes"),
        (GOOD, {LENGTH: "1" * 5000}, 400, "must be the number of bytes"),
        (GOOD, {LENGTH: ""}, 400, "must be the number of bytes"),
        (GOOD, {LENGTH: "²"}, 400, "must be the number of bytes"),
        (b"", {}, 400, "not valid JSON"),
        (b"\xff\xfe", {}, 400, "not valid JSON"),
        (b"[]", {}, 400, "must be a JSON object"),
        (b"[" * 100_000, {}, 400, "not valid JSON"),
        (b"{}", {}, 422, "list of input tensors"),
        (json.dumps(good(inputs=[5])).encode(), {}, 422, "must be an object"),
        (json.dumps(good(inputs=[{}])).encode(), {}, 422, "no such input"),
        (json.dumps(good(inputs=[{"name": {}}])).encode(), {}, 422, "no such input"),
        (json.dumps(good(id=5)).encode(), {}, 422, "must be a text"),
        (json.dumps(good(outputs=5)).encode(), {}, 422, "list of wanted outputs"),
        (json.dumps(good(outputs=["y"])).encode(), {}, 422, "no such output"),
        (json.dumps(good(outputs=[{"name": "y", "parameters": 5}])).encode(), {}, 422, "must be an object"),
        (json.dumps(good(parameters=[])).encode(), {}, 422, "must be an object"),
        (json.dumps(good(parameters={"binary_data_output": 1})).encode(), {}, 422, "true or false"),
        (GOOD, {"Content_Encoding": "deflate"}, 400, "is not deflate"),
        (GOOD, {"Content_Encoding": "gzip"}, 400, "is not gzip"),
        (GOOD, {"Content_Encoding": "br"}, 415, "one of gzip, deflate"),
        (GOOD, {"Content_Encoding": "gzip, gzip"}, 415, "one of gzip, deflate"),
        (GOOD.replace(b"[2, 4]", b"[2.0, 4]"), {}, 422, "list of sizes"),
        (GOOD.replace(b"[2, 4]", b"[true, 4]"), {}, 422, "list of sizes"),
        (GOOD.replace(b"[2, 4]", b"[-2, 4]"), {}, 422, "list of sizes"),
        (GOOD.replace(b"[2, 4]", b"[9223372036854775807, 4]"), {}, 422, "elements, and there are 8"),
    ],
)
def test_raw_requests_that_no_client_makes(
    plain: Plain, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    found, problem, media_type = plain.ask(body, **encoded)  # type: ignore[arg-type]
    assert (found, media_type) == (status, "application/problem+json")
    assert words in problem["error"]
    assert problem["error"] == problem["detail"]
    assert problem["status"] == status
    assert problem["request_id"]
    assert plain.ask(GOOD)[0] == 200  # over the same connection


@pytest.mark.parametrize("path", ["/v2/models/times/nothing", "/v2/models/times/versions/1.0.0/nothing", "/v2/nothing"])
def test_paths_that_lead_nowhere(plain: Plain, path: str) -> None:
    status, problem, _ = plain.ask(GOOD, path=path)
    assert (status, problem["status"]) == (404, 404)
    assert problem["error"]
    assert plain.ask(GOOD)[0] == 200


def test_no_wanted_outputs_means_all(plain: Plain) -> None:
    status, answer, _ = plain.ask(json.dumps(good(outputs=[])).encode())
    assert (status, [output["name"] for output in answer["outputs"]]) == (200, ["y"])


def test_a_coding_that_is_none_is_taken(plain: Plain) -> None:
    assert plain.ask(GOOD, Content_Encoding="identity")[0] == 200


@pytest.mark.parametrize("what", ["index out of range", "rest of a reshape"])
def test_a_models_own_error_names_the_inputs_and_no_file(fleet: Fleet, what: str) -> None:
    plain = Plain(fleet.url)
    bodies = {
        "index out of range": ("embedding", {"name": "index", "datatype": "INT64", "shape": [1], "data": [99]}),
        "rest of a reshape": ("eights", {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}),
    }
    model, tensor = bodies[what]
    status, problem, _ = plain.ask(json.dumps({"inputs": [tensor]}).encode(), path=f"/v2/models/{model}/infer")
    plain.close()
    assert status == 422
    assert [error["pointer"] for error in problem["errors"]] == ["/body/inputs"]
    for token in ("/onnxruntime", ".cc", ".h:", "Traceback", "::", "ONNXRuntimeError", "site-packages"):
        assert token not in json.dumps(problem)


def test_the_service_itself_says_the_same(fleet: Fleet) -> None:
    """Without the gateway in between."""
    token = {FLEET_TOKEN_HEADER: FLEET_TOKEN}
    with closing(Plain(fleet.perception_url)) as plain:
        status, problem, media_type = plain.ask(b"[]", **token)
        assert (status, media_type) == (400, "application/problem+json")
        assert "must be a JSON object" in problem["error"]
        assert plain.ask(GOOD, **token)[0] == 200
        assert plain.ask(GOOD)[0] == 401
