"""Large JSON, and many texts, are read and written beside the event loop, piece by piece, so that others are served.

How long a loop stands still meanwhile is measured in `tests/benchmarks/test_large_json.py`.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from services.perception.app import create_app
from shared.inference_protocol import inference, large_numbers, large_texts, requests
from shared.inference_protocol.datatypes import BYTES
from shared.inference_protocol.large_numbers import LARGE_BYTES, LARGE_ELEMENTS
from tests.integration.protocol.conftest import settings_of
from tests.support.large_json import TEXTS, body_of, numbers_of, release_one, texts_body
from tests.support.serving import running, until_models_are_open

LARGEST_NUMBER = 32
"""Bytes of a number or a text in JSON, with its comma."""


class Calls:
    """Calls of functions: in which thread each was, and how many bytes it read or wrote."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.sizes: list[int] = []
        self.pauses = 0

    def recorded(self, function: Callable[..., Any], size: Callable[[Any, Any], int]) -> Callable[..., Any]:
        """A function that does the same, and is seen."""

        def call(*arguments: Any, **named: Any) -> Any:
            found = function(*arguments, **named)
            self.threads.append(threading.get_ident())
            self.sizes.append(size(arguments[0], found))
            return found

        return call

    def watch_json(self, patch: pytest.MonkeyPatch, module: ModuleType) -> None:
        """See what a module parses and renders, and when it lets others have the interpreter."""
        loads = self.recorded(orjson.loads, lambda text, _: len(text))
        dumps = self.recorded(orjson.dumps, lambda _, text: len(text))
        patch.setattr(module, "orjson", SimpleNamespace(**vars(orjson) | {"loads": loads, "dumps": dumps}))
        patch.setattr(module, "time", SimpleNamespace(sleep=self._pause))

    def _pause(self, seconds: float) -> None:
        assert seconds == 0
        self.pauses += 1


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    for module in (large_numbers, large_texts):
        found.watch_json(monkeypatch, module)
    return found


@pytest.mark.parametrize("nested", [True, False])
async def test_ten_megabytes_of_json_are_read_and_written_in_pieces_beside_the_loop(
    redis_server: str, tmp_path: Path, calls: Calls, nested: bool
) -> None:
    models = release_one(tmp_path / "models", "Neg", "float32", ["height", "width"])
    numbers = numbers_of()
    body = body_of(numbers, nested=nested)
    assert len(body) > 9_500_000
    async with running(create_app(settings_of(tmp_path, redis_server, models=models))) as client:
        await until_models_are_open(client)
        answer = await client.post("/v2/models/same/infer", content=body)
    found = np.array(json.loads(answer.content)["outputs"][0]["data"], np.float32).reshape(numbers.shape)
    np.testing.assert_array_equal(found, -numbers)
    assert max(calls.sizes) <= max(LARGE_BYTES, LARGEST_NUMBER * LARGE_ELEMENTS)
    pieces = sum(size > LARGE_BYTES // 2 for size in calls.sizes)
    assert pieces > 2 * len(body) // (LARGEST_NUMBER * LARGE_ELEMENTS)
    assert calls.pauses >= pieces
    assert threading.get_ident() not in calls.threads


async def test_many_texts_of_json_are_read_in_pieces(calls: Calls, redis_server: str, tmp_path: Path) -> None:
    models = release_one(tmp_path / "models", "Identity", "string", ["rows"])
    body = texts_body()
    async with running(create_app(settings_of(tmp_path, redis_server, models=models))) as client:
        await until_models_are_open(client)
        answer = await client.post("/v2/models/same/infer", content=body)
    assert json.loads(answer.content)["outputs"][0]["data"] == TEXTS
    assert max(calls.sizes) <= max(LARGE_BYTES, LARGEST_NUMBER * LARGE_ELEMENTS) + LARGEST_NUMBER
    pieces = sum(size > LARGE_BYTES // 2 for size in calls.sizes)
    assert calls.pauses >= pieces > len(body) // (2 * LARGE_BYTES)
    assert threading.get_ident() not in calls.threads


async def test_many_texts_of_bytes_are_read_and_written_in_threads(
    redis_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls()
    for module, name in ((requests, "tensor_from_bytes"), (inference, "write_answer")):
        monkeypatch.setattr(module, name, calls.recorded(getattr(module, name), lambda _, __: 0))
    models = release_one(tmp_path / "models", "Identity", "string", ["rows"])
    raw = b"".join(struct.pack("<I", len(text)) + text.encode() for text in TEXTS)
    entry = {"name": "x", "datatype": BYTES, "shape": [len(TEXTS)], "parameters": {"binary_data_size": len(raw)}}
    head = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
    async with running(create_app(settings_of(tmp_path, redis_server, models=models))) as client:
        await until_models_are_open(client)
        answer = await client.post(
            "/v2/models/same/infer",
            content=head + raw,
            headers={"Inference-Header-Content-Length": str(len(head))},
        )
    assert answer.content.endswith(raw)
    assert len(calls.threads) == 2
    assert threading.get_ident() not in calls.threads
