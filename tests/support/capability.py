"""What tests of a capability need: its service on models of their own, and files to post."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image

from shared.runtime.cards import CARD_FILE, ModelCard
from shared.settings import Settings
from tests.support.addresses import NO_REDIS
from tests.support.serving import running, until_models_are_open


def npy(array: NDArray[Any]) -> bytes:
    """An array as NPY, whatever it holds."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def from_npy(data: bytes) -> NDArray[Any]:
    """The array of an NPY file."""
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def png(image: Image.Image | NDArray[np.uint8]) -> bytes:
    """An image, or uint8 (height, width, 3), as PNG."""
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, format="PNG")
    return stream.getvalue()


def write_model(models: Path, card: ModelCard, content: bytes) -> str:
    """Release a model into a folder as `<name>/<version>/`.

    Args:
        models: of a domain.
        card: what it says of the weights is made to fit the content.
        content: ONNX.

    Returns:
        sha256 of the content.
    """
    folder = models / card.name / card.version
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    weights = card.weights.model_copy(update={"file": "model.onnx", "sha256": sha256, "bytes": len(content)})
    (folder / CARD_FILE).write_text(card.model_copy(update={"weights": weights}).model_dump_json())
    return sha256


@asynccontextmanager
async def running_capability(
    create_app: Callable[[Settings], FastAPI], folder: Path, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service in this process, with its models open.

    Args:
        create_app: of the service.
        folder: its models are in `models/<domain>/` there; it keeps its blobs there.
        settings: in place of one thread, no Redis and the defaults.
    """
    values: dict[str, Any] = {
        "redis_url": NO_REDIS,
        "blob_url": str(folder / "blobs"),
        "models": folder / "models",
        "inference_threads": 1,
    }
    async with running(create_app(Settings(_env_file=None, **(values | settings)))) as client:
        await until_models_are_open(client)
        yield client
