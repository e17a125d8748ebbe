"""The perception service with a classifier that can be computed by hand: logits are a matrix times the mean colour."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

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


OWN_PARAMETERS = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 2.0], "classes": ["warm", "cold"], "temperature": 0.5}
"""What the card of the second classifier says, which sees 24x40 pixels and has the first two rows of the weight."""


def mean_colour_classifier(classes: int = 43, height: int = 32, width: int = 32) -> bytes:
    pictures = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, height, width])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "mean colour", [pictures], [logits], [numpy_helper.from_array(WEIGHT[:classes], "weight")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _release(
    models: Path, name: str, parameters: dict[str, Any], content: bytes, picture: list[int], classes: int
) -> None:
    target = models / name / "1.0.0"
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(content)
    tensor = {"dtype": "float32", "unit": "1", "range": None, "description": "-"}
    card = card_of(content, name=name, parameters=parameters) | {
        "inputs": [tensor | {"name": "pictures", "shape": ["batch", *picture]}],
        "outputs": [tensor | {"name": "logits", "shape": ["batch", classes]}],
    }
    (target / CARD_FILE).write_text(ModelCard.model_validate(card).model_dump_json())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """The service with that classifier as "traffic-signs", and a denoiser beside it; no Redis."""
    folder: Path = tmp_path_factory.mktemp("perception")
    models = folder / "models" / "perception"
    release(models, "low-dose-ct", kind="mean")
    _release(models, "traffic-signs", {"temperature": TEMPERATURE}, mean_colour_classifier(), [3, 32, 32], 43)
    _release(models, "own-colours", OWN_PARAMETERS, mean_colour_classifier(2, 24, 40), [3, 24, 40], 2)
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
