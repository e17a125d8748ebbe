"""The uncertainty service with the released classifier, and one beside it that has parts without a rule; no Redis."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from services.declarations import SERVICES
from services.uncertainty.app import create_app
from services.uncertainty.explanation.graphs import TrustedSource
from services.uncertainty.explanation.inference import Explainer
from shared.runtime.cards import read_card, read_weights
from shared.runtime.models.registry import newest_folder
from tests.support.capability import running_capability, write_model


def sign(*, side: int = 48, shift: int = 0) -> Image.Image:
    """A stop sign, roughly."""
    image = Image.new("RGB", (side, side), (120, 150, 190))
    draw = ImageDraw.Draw(image)
    draw.regular_polygon((side / 2 + shift, side / 2, 0.42 * side), 8, rotation=22, fill=(180, 20, 30))
    draw.rectangle((0.22 * side, 0.42 * side, 0.78 * side, 0.58 * side), fill=(240, 240, 240))
    return image


def pictures(count: int = 3) -> NDArray[np.float32]:
    """Signs as the network wants them, (count, 3, 32, 32)."""
    return np.stack(
        [
            np.asarray(sign(side=32, shift=index), dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
            for index in range(count)
        ]
    )


def refused_classifier() -> bytes:
    """A classifier with a sigmoid and a dilated convolution."""
    weight = np.ones((3, 1, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["pictures", "grouped"], ["a"], name="first", group=3, pads=[2] * 4, dilations=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["pictures", "plain"], ["c"], name="second"),
        helper.make_node("Sigmoid", ["c"], ["d"], name="squash"),
        helper.make_node("Add", ["b", "d"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "head"], ["logits"], transB=1),
    ]
    constants = {
        "grouped": weight,
        "plain": np.ones((3, 3, 1, 1), np.float32),
        "head": np.ones((43, 3), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "refused",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 43])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture(scope="session")
def released() -> Path:
    """Folder of the released classifier."""
    return newest_folder(SERVICES / "perception" / "models", "traffic-signs")


@pytest.fixture(scope="session")
def explainer(released: Path) -> Explainer:
    card = read_card(released)
    return Explainer(card, TrustedSource(partial(read_weights, released, card)), threads=1)


@pytest.fixture(scope="session")
def classifier(released: Path) -> onnx.ModelProto:
    """Its graph."""
    return onnx.load_model_from_string(read_weights(released, read_card(released)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory, released: Path) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("uncertainty")
    models = folder / "models" / "perception"
    shutil.copytree(released, models / "traffic-signs" / released.name)
    card = read_card(released).model_copy(update={"name": "refused", "version": "1.0.0"})
    write_model(models, card, refused_classifier())
    async with running_capability(create_app, folder, pixel_limit=256 * 256) as started:
        yield started
