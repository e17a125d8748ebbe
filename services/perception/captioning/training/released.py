"""Trained weights out of a release, for a run that goes on from one whose folder is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from services.perception.captioning.roles import DecoderRole, read_role
from shared.runtime.cards import read_card, read_weights

_PARTS = ("grid.", "decoder.")
"""Of a captioner whose backbone stayed as published."""


@dataclass(frozen=True, slots=True)
class TrainedCaptioner:
    """What a run goes on from.

    Attributes:
        weights: of places and decoder, by the names of the trained network; single precision, as far as they were kept.
        words: the vocabulary.
        hours: that the training took.
    """

    weights: dict[str, Tensor]
    words: tuple[str, ...]
    hours: float


def read_release(models: Path, name: str, version: str) -> TrainedCaptioner:
    """A released captioner of this package's own, whose backbone stayed as published.

    Args:
        models: folder of released models.
        name: of the captioner.
        version: of both models.

    Raises:
        OSError: it is not there.
        ValueError: it is no such captioner.
    """
    decoder = read_card(models / name / version)
    role = read_role(decoder.parameters)
    if not isinstance(role, DecoderRole):
        raise ValueError(f"{models / name / version} holds no decoder of a captioner")
    weights: dict[str, Tensor] = {}
    for one in (role.encoder, name):
        folder = models / one / version
        content = read_weights(folder, read_card(folder))
        weights |= dict(_weights(onnx.load_model_from_string(content)))
    return TrainedCaptioner(weights, tuple(role.words), decoder.training.hours)


def _weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Those of a graph that keep their names, or get them back by the bias that is added to their products."""
    arrays = {one.name.removesuffix("_half"): numpy_helper.to_array(one) for one in model.graph.initializer}
    for name, values in arrays.items():
        if name.startswith(_PARTS):
            yield name, _tensor(values)
    added = {tensor: node for node in model.graph.node if node.op_type == "Add" for tensor in node.input}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:
            (bias,) = (name for name in added[node.output[0]].input if name in arrays)
            yield bias.removesuffix("bias") + "weight", _tensor(arrays[node.input[1]].T)


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))
