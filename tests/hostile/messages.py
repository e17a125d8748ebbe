"""Requests as bytes: whole and well formed, for cases to spoil."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Sequence

import numpy as np
from PIL import Image

HOST = b"localhost"
"""A name that a fleet without API keys answers for."""

INFER = "/v2/models/echo/infer"
FILL = "/v2/models/fill/infer"
IMAGES = "/v1/perception/classifications"

SMUGGLED_TARGET = "/v1/perception/smuggled"
"""Nobody ever asks for this; it is only ever in the inside of bodies."""

SMUGGLED = (
    b"POST " + SMUGGLED_TARGET.encode() + b" HTTP/1.1\r\nHost: localhost\r\nFacet-Caller: radiology\r\n"
    b"Content-Length: 0\r\n\r\n"
)
"""A request of somebody who claims to be the gateway."""

FORGED = (
    b"Facet-Caller: radiology",
    b"Facet-Job-Limit: 99999",
    b"Facet-Fleet-Token: guessed",
    b"Facet-Creation-Key: " + b"a" * 64,
)
"""Fields that only the gateway may write."""

_BOUNDARY = b"boundary-of-a-form"


def head(
    method: str, target: str, fields: Sequence[bytes], *, host: bytes | None = HOST, version: bytes = b"HTTP/1.1"
) -> bytes:
    """A head, with the empty line after it.

    Args:
        method: as it is sent.
        target: as it is sent, in latin-1.
        fields: whole lines, without their ends.
        host: value of the Host field; None for none.
        version: as it is sent.
    """
    lines = [method.encode("latin-1") + b" " + target.encode("latin-1") + b" " + version]
    if host is not None:
        lines.append(b"Host: " + host)
    return b"\r\n".join([*lines, *fields, b"", b""])


def request(method: str, target: str, body: bytes, fields: Sequence[bytes] = ()) -> bytes:
    """A request whose body has a Content-Length."""
    return head(method, target, [*fields, b"Content-Length: %d" % len(body)]) + body


def chunked(body: bytes, *, size: int = 1 << 16) -> bytes:
    """A body in chunks, without trailers."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


JSON_TYPE = b"Content-Type: application/json"
FORM_TYPE = b"Content-Type: multipart/form-data; boundary=" + _BOUNDARY
RAW_TYPE = b"Content-Type: application/octet-stream"


def infer_json(nonce: str, value: float) -> bytes:
    """Body for the model that answers what it is asked, as is the request's id."""
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [value, 0.5]}
    return json.dumps({"id": nonce, "inputs": [tensor]}).encode()


def infer_raw(nonce: str, values: int) -> tuple[bytes, bytes]:
    """Body with a tensor of zeros behind its JSON, and the field that says how long that is."""
    tensor = {
        "name": "x",
        "shape": [1, values],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 4 * values},
    }
    part = json.dumps({"id": nonce, "inputs": [tensor]}).encode()
    return part + bytes(4 * values), b"Inference-Header-Content-Length: %d" % len(part)


def fill_json(nonce: str, values: int) -> bytes:
    """Body for the model that answers so many zeros, to be sent as bytes."""
    tensor = {"name": "count", "shape": [1], "datatype": "INT64", "data": [values]}
    output = {"name": "y", "parameters": {"binary_data": True}}
    return json.dumps({"id": nonce, "inputs": [tensor], "outputs": [output]}).encode()


@functools.cache
def png(shade: int) -> bytes:
    """A grey picture with a bright corner, different for each shade (0 to 255)."""
    pixels = np.full((32, 32, 3), shade, np.uint8)
    pixels[:8, :8] = 255 - shade
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def form(nonce: str, picture: bytes) -> bytes:
    """A form with one file."""
    disposition = b'Content-Disposition: form-data; name="file"; filename="%b.png"' % nonce.encode()
    part = b"\r\n".join([b"--" + _BOUNDARY, disposition, b"Content-Type: image/png", b"", picture])
    return part + b"\r\n--" + _BOUNDARY + b"--\r\n"
