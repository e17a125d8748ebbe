"""Compressed requests, by tritonclient and as others write them, through the gateway to a real service."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferRequestedOutput

from tests.integration.protocol.conftest import Fleet
from tests.integration.protocol.test_conformance import X, given

PATH = "/v2/models/times/infer"
SMALL = X[:1]


def bare_deflate(data: bytes) -> bytes:
    """Without zlib's header, as some clients understand "deflate"."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("back", [None, "gzip", "deflate"])
@pytest.mark.parametrize("there", ["gzip", "deflate"])
def test_compressed_is_answered_as_plain(client: Any, there: str, back: str | None, *, binary: bool) -> None:
    answer = client.infer(
        "times",
        [given("x", X, "FP32", binary=binary)],
        outputs=[InferRequestedOutput("y", binary_data=binary)],
        request_compression_algorithm=there,
        response_compression_algorithm=back,
    )
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * X)


def test_tensors_larger_than_what_is_held_in_memory(client: Any) -> None:
    rows = np.tile(X, (200_000, 1)).astype(np.float32)
    answer = client.infer("times", [given("x", rows, "FP32")], request_compression_algorithm="gzip")
    np.testing.assert_array_equal(answer.as_numpy("y"), np.float32(3) * rows)


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("identity, gzip", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
    ],
)
def test_every_way_to_write_it(fleet: Fleet, coding: str, compress: Callable[[bytes], bytes]) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": SMALL.tolist()}]}).encode()
    answer = httpx.post(fleet.url + PATH, content=compress(body), headers={"Content-Encoding": coding})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == (np.float32(3) * SMALL).ravel().tolist()


def test_an_unknown_coding_is_told_what_is_known(fleet: Fleet) -> None:
    answer = httpx.post(fleet.url + PATH, content=b"{}", headers={"Content-Encoding": "zstd"})
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "gzip, deflate")
    assert answer.headers["Content-Type"] == "application/problem+json"
