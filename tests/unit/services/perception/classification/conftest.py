"""The perception service with a classifier that can be computed by hand: logits are a matrix times the mean colour."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from services.perception.app import create_app
from shared.runtime.cards import CARD_FILE, ModelCard
from shared.settings import Settings
from tests.support.serving import running, until_models_are_open
from tests.support.tiny_models import card_of, release

TEMPERATURE = 2.0
WEIGHT: NDArray[np.float32] = np.random.default_rng(0).normal(0, 5, (43, 3)).astype(np.float32)


def png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def plain(red: int, green: int, blue: int, *, height: int = 32, width: int = 32) -> bytes:
    """A picture of one colour."""
    return png(np.full((height, width, 3), (red, green, blue), dtype=np.uint8))


def mean_colour_classifier() -> bytes:
    pictures = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 43])
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(nodes, "mean colour", [pictures], [logits], [numpy_helper.from_array(WEIGHT, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """The service with that classifier as "traffic-signs", and a denoiser beside it; no Redis."""
    folder: Path = tmp_path_factory.mktemp("perception")
    models = folder / "models" / "perception"
    release(models, "low-dose-ct", kind="mean")
    target = models / "traffic-signs" / "1.0.0"
    target.mkdir(parents=True)
    content = mean_colour_classifier()
    (target / "model.onnx").write_bytes(content)
    tensor = {"dtype": "float32", "unit": "1", "range": None, "description": "-"}
    card = card_of(content, name="traffic-signs", parameters={"temperature": TEMPERATURE}) | {
        "inputs": [tensor | {"name": "pictures", "shape": ["batch", 3, 32, 32]}],
        "outputs": [tensor | {"name": "logits", "shape": ["batch", 43]}],
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
    }
    (target / CARD_FILE).write_text(ModelCard.model_validate(card).model_dump_json())
    settings = Settings(
        redis_url="redis://127.0.0.1:1/0",
        blob_url=str(folder / "blobs"),
        models=folder / "models",
        pixel_limit=256 * 256,
        inference_threads=1,
    )
    async with running(create_app(settings)) as started:
        await until_models_are_open(started)
        yield started
