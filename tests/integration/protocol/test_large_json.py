"""While a service reads and writes large JSON, or many texts, it answers others: its event loop is not held up."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import pytest
from onnx import helper

from services.perception.app import create_app
from shared.inference_protocol.datatypes import BYTES, DTYPES
from shared.inference_protocol.requests import InferenceRequest, read_request, split_request
from shared.inference_protocol.signature import Signature, Tensor
from shared.inference_protocol.tensors import tensor_from_bytes
from tests.integration.protocol.conftest import settings_of
from tests.support.graphs import release_graph
from tests.support.serving import running, until_models_are_open

SIDE = 720
ROUNDS = 4
TEXTS = [f'text {number}, "quoted"' for number in range(100_000)]

Result = TypeVar("Result")


def body_of(numbers: np.ndarray[tuple[int, int], np.dtype[np.float32]], *, nested: bool) -> bytes:
    data = numbers.tolist() if nested else numbers.reshape(-1).tolist()
    return orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [SIDE, SIDE], "data": data}]})


def seconds_at_once(body: bytes) -> float:
    """What the loop would stand still for if it parsed the body itself, in the quickest of a few tries."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        np.array(orjson.loads(body)["inputs"][0]["data"])
        found.append(time.perf_counter() - began)
    return min(found)


async def longest_stall(work: Coroutine[Any, Any, Result]) -> tuple[float, Result]:
    """How late a short sleep ended, at worst, while something was done."""
    task, worst = asyncio.create_task(work), 0.0
    while not task.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began)
    return worst, await task


@pytest.mark.parametrize("nested", [True, False])
async def test_ten_megabytes_of_json_hold_nobody_up(redis_server: str, tmp_path: Path, nested: bool) -> None:
    release_graph(
        tmp_path / "models" / "perception",
        "same",
        [helper.make_node("Neg", ["x"], ["y"])],
        inputs=[("x", "float32", ["height", "width"])],
        outputs=[("y", "float32", ["height", "width"])],
    )
    numbers = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    body = body_of(numbers, nested=nested)
    assert len(body) > 9_500_000
    async with running(create_app(settings_of(tmp_path, redis_server, models=str(tmp_path / "models")))) as client:
        await until_models_are_open(client)
        stalls = []
        for _ in range(ROUNDS):
            stall, answer = await longest_stall(client.post("/v2/models/same/infer", content=body))
            stalls.append(stall)
        found = np.array(answer.json()["outputs"][0]["data"], np.float32).reshape(SIDE, SIDE)
    np.testing.assert_array_equal(found, -numbers)
    assert min(stalls) < 0.7 * seconds_at_once(body), stalls  # 1.3 where the loop does all of it


def text_signature() -> Signature:
    tensor = Tensor("x", BYTES, DTYPES[BYTES], (-1,), ("rows",))
    return Signature("texts", "1.0.0", {"x": tensor}, {"x": tensor}, stackable=False)


async def test_many_texts_of_json_are_read_while_others_are_served() -> None:
    """As `Inference.run` reads them. No service runs: onnxruntime holds the interpreter while it copies texts."""
    entry = {"name": "x", "datatype": BYTES, "shape": [len(TEXTS)], "data": TEXTS}
    body, signature, stalls = orjson.dumps({"inputs": [entry]}), text_signature(), []

    def read() -> InferenceRequest:
        return read_request(split_request(body, header_bytes=None), signature=signature)

    for _ in range(ROUNDS):
        stall, asked = await longest_stall(asyncio.to_thread(read))
        stalls.append(stall)
    assert asked.inputs["x"].tolist() == TEXTS
    assert min(stalls) < 0.7 * seconds_at_once(body), stalls


async def test_many_texts_of_bytes_are_read_and_written_in_threads(redis_server: str, tmp_path: Path) -> None:
    release_graph(
        tmp_path / "models" / "perception",
        "texts",
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs=[("x", "string", ["rows"])],
        outputs=[("y", "string", ["rows"])],
    )
    raw = b"".join(struct.pack("<I", len(text)) + text.encode() for text in TEXTS)
    entry = {"name": "x", "datatype": BYTES, "shape": [len(TEXTS)], "parameters": {"binary_data_size": len(raw)}}
    head = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
    began = time.perf_counter()
    tensor_from_bytes(memoryview(raw), "", text_signature().inputs["x"], [len(TEXTS)])
    at_once = time.perf_counter() - began
    async with running(create_app(settings_of(tmp_path, redis_server, models=str(tmp_path / "models")))) as client:
        await until_models_are_open(client)
        stalls = []
        for _ in range(ROUNDS):
            asking = client.post(
                "/v2/models/texts/infer",
                content=head + raw,
                headers={"Inference-Header-Content-Length": str(len(head))},
            )
            stall, answer = await longest_stall(asking)
            stalls.append(stall)
    assert answer.content.endswith(raw)
    assert min(stalls) < 0.5 * at_once, (stalls, at_once)  # 0.9 where the loop reads them
