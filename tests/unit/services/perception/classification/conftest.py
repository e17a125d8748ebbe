"""The perception service with a classifier that can be computed by hand: logits are a matrix times the mean colour."""

from __future__ import annotations

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

from services.perception.app import create_app
from shared.runtime.cards import ModelCard
from tests.support.capability import png, running_capability, write_model
from tests.support.tiny_models import card_of, release

TEMPERATURE = 2.0
WEIGHT: NDArray[np.float32] = np.random.default_rng(0).normal(0, 5, (43, 3)).astype(np.float32)


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
    tensor = {"dtype": "float32", "unit": "1", "range": None, "description": "-"}
    card = card_of(content, name=name, parameters=parameters) | {
        "inputs": [tensor | {"name": "pictures", "shape": ["batch", *picture]}],
        "outputs": [tensor | {"name": "logits", "shape": ["batch", classes]}],
    }
    write_model(models, ModelCard.model_validate(card), content)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """The service with that classifier as "traffic-signs", and a denoiser beside it; no Redis."""
    folder: Path = tmp_path_factory.mktemp("perception")
    models = folder / "models" / "perception"
    release(models, "low-dose-ct", kind="mean")
    _release(models, "traffic-signs", {"temperature": TEMPERATURE}, mean_colour_classifier(), [3, 32, 32], 43)
    centred = {"preprocessing": {"region": "centre", "share": 0.5, "filter": "bicubic"}}
    _release(models, "own-centre", centred, mean_colour_classifier(2), [3, 32, 32], 2)
    unknown = {"preprocessing": {"region": "left"}}
    _release(models, "own-left", unknown, mean_colour_classifier(2), [3, 32, 32], 2)
    _release(models, "own-colours", OWN_PARAMETERS, mean_colour_classifier(2, 24, 40), [3, 24, 40], 2)
    async with running_capability(create_app, folder, pixel_limit=256 * 256) as started:
        yield started
