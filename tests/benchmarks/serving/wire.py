"""What goes over the wire: each system's quickest form of a tensor or an image, and how its answer is read.

Triton's binary tensor extension: https://github.com/triton-inference-server/server/blob/main/docs/protocol/
extension_binary_data.md (JSON of `Inference-Header-Content-Length` bytes, then the tensors).
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.benchmarks.serving.cases import Array, Case, Sample

HEADER_LENGTH = "Inference-Header-Content-Length"
_BOUNDARY = "facet-benchmark"
_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Call:
    """One POST."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """How a system is asked and how it answers.

    Attributes:
        encode: a sample as a request.
        decode: of the answer's headers (lower case) and body, the numbers in it.
        view: what of onnxruntime's (classes,) such an answer holds; all of it by default.
    """

    encode: Callable[[Case, Sample], Call]
    decode: Callable[[Mapping[str, str], bytes], Array]
    view: Callable[[Array], Array] = lambda answer: answer


def _content(case: Case, sample: Sample) -> tuple[bytes, str]:
    return (sample.file if case.route == "image" else sample.row.astype("<f4").tobytes()), case.media_type


def target_of(url: str) -> str:
    """Path and query, as a request line names them."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def with_headers(encode: Callable[[Case, Sample], Call], headers: Mapping[str, str]) -> Callable[[Case, Sample], Call]:
    """The same request with further header fields."""

    def more(case: Case, sample: Sample) -> Call:
        call = encode(case, sample)
        return Call(call.body, {**call.headers, **headers})

    return more


def plain(case: Case, sample: Sample) -> Call:
    """The bytes alone."""
    body, media_type = _content(case, sample)
    return Call(body, {"Content-Type": media_type})


def multipart(field: str, **others: str) -> Callable[[Case, Sample], Call]:
    """A form with one file; `{model}` in the other fields stands for the model's name."""

    def encode(case: Case, sample: Sample) -> Call:
        body, media_type = _content(case, sample)
        parts = [
            f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value.format(model=case.model)}\r\n'.encode()
            for name, value in others.items()
        ]
        head = f'Content-Disposition: form-data; name="{field}"; filename="x"\r\nContent-Type: {media_type}\r\n\r\n'
        parts.append(head.encode() + body + b"\r\n")
        mark = f"--{_BOUNDARY}".encode()
        form = b"".join(mark + b"\r\n" + part for part in parts) + mark + b"--\r\n"
        return Call(form, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"})

    return encode


def binary_tensor(case: Case, sample: Sample) -> Call:
    """Open Inference Protocol with Triton's binary extension; an image is one element of type BYTES."""
    content, _ = _content(case, sample)
    described: dict[str, Any] = {"name": "x", "shape": [1, *case.row], "datatype": "FP32"}
    if case.route == "image":
        content = struct.pack("<I", len(content)) + content
        described = {"name": "x", "shape": [1, 1], "datatype": "BYTES"}
    described["parameters"] = {"binary_data_size": len(content)}
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": [described], "outputs": outputs}).encode()
    return Call(header + content, {"Content-Type": _BYTES, HEADER_LENGTH: str(len(header))})


def json_tensor(_: Case, sample: Sample) -> Call:
    """Open Inference Protocol in JSON, with as many digits as float32 holds."""
    numbers = ",".join(map(str, sample.row.ravel()))
    described = json.dumps({"name": "x", "shape": [1, *sample.row.shape], "datatype": "FP32"})
    body = f'{{"inputs": [{described[:-1]}, "data": [{numbers}]}}]}}'
    return Call(body.encode(), {"Content-Type": "application/json"})


def base64_element(case: Case, sample: Sample) -> Call:
    """Open Inference Protocol in JSON, the bytes as one element in base64."""
    content, _ = _content(case, sample)
    described = {"name": "x", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    described["data"] = [base64.b64encode(content).decode()]
    return Call(json.dumps({"inputs": [described]}).encode(), {"Content-Type": "application/json"})


def read_plain(_: Mapping[str, str], body: bytes) -> Array:
    """Raw float32."""
    return np.frombuffer(body, "<f4")


def read_binary_tensor(headers: Mapping[str, str], body: bytes) -> Array:
    """The tensor after the JSON."""
    return np.frombuffer(body[int(headers[HEADER_LENGTH.lower()]) :], "<f4")


def read_rows(_: Mapping[str, str], body: bytes) -> Array:
    """JSON [[...]] or {"y": [...]}."""
    answer = json.loads(body)
    return np.asarray(answer["y"] if isinstance(answer, dict) else answer, dtype=np.float32).ravel()


def read_protocol_json(_: Mapping[str, str], body: bytes) -> Array:
    """The first output of the Open Inference Protocol in JSON."""
    return np.asarray(json.loads(body)["outputs"][0]["data"], dtype=np.float32).ravel()


def read_classification(_: Mapping[str, str], body: bytes) -> Array:
    """Class and logit of the five most probable, in order of class."""
    guesses = json.loads(body)["classifications"][0]["top"]
    pairs = sorted((guess["class_id"], guess["logit"]) for guess in guesses)
    return np.asarray(pairs, dtype=np.float32).ravel()


def top_five(logits: Array) -> Array:
    """The same of all logits."""
    best = np.sort(np.argsort(-logits, kind="stable")[:5])
    return np.stack([best, logits[best]], axis=1).astype(np.float32).ravel()
