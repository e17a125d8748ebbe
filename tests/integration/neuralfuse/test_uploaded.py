"""Uploaded classifiers at low voltage: found through Redis and the blob store, read in a process of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.security.app import create_app
from services.security.neuralfuse.capability import PATH
from services.security.neuralfuse.demo import stop_sign
from shared.deployments.desired_state import Deployment, DesiredState
from shared.deployments.store import DesiredStateStore
from shared.jobs.connection import api_client
from shared.runtime.cards import UploadedCard
from shared.storage.blobs import BlobStore
from tests.support.capability import png, running_capability
from tests.support.classifiers import CLASSES, card_of, classifier

ROUTE = f"{PATH}/predictions"


def without_layers() -> bytes:
    """ONNX of a classifier that multiplies by nothing: means of the channels, repeated."""
    nodes = [
        helper.make_node("ReduceMean", ["pictures"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Concat", ["means", "means"], ["six"], axis=1),
        helper.make_node("Slice", ["six", "from", "to", "axes"], ["logits"]),
    ]
    numbers = {"from": [0], "to": [CLASSES], "axes": [1]}
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def dividing() -> bytes:
    """ONNX of a classifier that divides the least int64 by -1 where a picture is white, which ends a process."""
    model = onnx.load_model_from_string(classifier())
    numbers = {"huge": np.float32(1e30), "none": np.float32(0), "one": np.float32(1)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items())
    nodes = [
        helper.make_node("Mul", ["pictures", "huge"], ["large"]),
        helper.make_node("Cast", ["large"], ["dividend"], to=TensorProto.INT64),
        helper.make_node("Mul", ["pictures", "none"], ["nothing"]),
        helper.make_node("Sub", ["nothing", "one"], ["minus"]),
        helper.make_node("Cast", ["minus"], ["divisor"], to=TensorProto.INT64),
        helper.make_node("Div", ["dividend", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "none"], ["zero"]),
        helper.make_node("Add", ["pictures", "zero"], ["same"]),
    ]
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    rest[0].input[0] = "same"
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture
async def client(redis_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A service of a fleet to which three classifiers were uploaded."""
    redis, blobs = api_client(redis_url), BlobStore(str(tmp_path / "blobs"))
    for name, content in (("mine", classifier()), ("means", without_layers()), ("dividing", dividing())):
        card = UploadedCard.model_validate(card_of(content, name=name))
        upload = Deployment(card, blobs.put(content).digest)
        await DesiredStateStore(redis).change("perception", partial(DesiredState.with_upload, upload=upload))
    await redis.aclose()
    async with running_capability(create_app, tmp_path, redis_url=redis_url) as started:
        yield started


async def post(client: httpx.AsyncClient, **form: Any) -> httpx.Response:
    return await client.post(ROUTE, files={"file": stop_sign()}, data=form)


async def test_an_uploaded_classifier_is_asked_and_one_without_weights_is_refused(client: httpx.AsyncClient) -> None:
    answer = await post(client, model="mine", top=CLASSES)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["model"]["name"], said["faults"]["quantised_here"]) == ("mine", True)
    assert len(said["predictions"][0]["low_voltage"]["unprotected"]["seeds"]) == 10
    for _ in range(2):  # the second time from memory
        refused = await post(client, model="means")
        assert refused.status_code == 422, refused.text
        assert refused.json()["errors"][0]["pointer"] == "/body/model"
        assert "no convolution" in refused.json()["detail"]
    missing = await post(client, model="nobody")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


async def test_a_picture_that_would_end_the_process_of_an_uploaded_classifier_does_not(
    client: httpx.AsyncClient,
) -> None:
    white = png(np.full((32, 32, 3), 255, np.uint8))
    answer = await client.post(ROUTE, files={"file": white}, data={"model": "dividing", "seeds": [1]})
    assert answer.status_code == 200, answer.text


async def test_the_service_answers_others_while_a_file_is_read_and_a_classifier_runs(client: httpx.AsyncClient) -> None:
    """Reading takes a process and a second of it; the event loop goes on meanwhile."""
    asked = asyncio.create_task(post(client, model="mine"))
    answered = 0
    while not asked.done():
        assert (await client.get("/health/live")).status_code == 200
        answered += 1
        await asyncio.sleep(0.01)
    assert (await asked).status_code == 200
    # A loop that is held up answers once or twice; how long each takes depends on what else the machine does.
    assert answered > 5
