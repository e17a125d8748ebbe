"""Measures the released classifier on photographs: what storage in fewer bits costs, and whether it names subjects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from shared.datasets.photos import photographs, subjects
from shared.imaging.preprocessing import preprocessing_of
from shared.runtime.cards import ModelCard
from shared.runtime.models.sessions import OnnxModel

EVALUATION = Path(__file__).parent / "evaluation.json"
PIXEL_LIMIT = 10**8
LEVELS = 127
"""Of eight bits with a sign, zero in the middle."""

Logits = NDArray[np.float32]


def read(path: Path, card: ModelCard) -> NDArray[np.float32]:
    """A photograph as the classifier wants it, (3, height, width)."""
    height, width = (int(side) for side in card.inputs[0].shape[2:])
    wanted = preprocessing_of(card.parameters)
    return wanted.read(path.read_bytes(), height=height, width=width, pixel_limit=PIXEL_LIMIT, pointer=path.name)


def logits_of(model: OnnxModel, files: Sequence[Path], card: ModelCard) -> Logits:
    """Logits (count, classes) of photographs, one by one."""
    return np.concatenate([model.run({card.inputs[0].name: read(path, card)[None]})[0] for path in files])


def in_eight_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose kernels are rounded to eight bits with a scale for each output channel, in single precision."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    for tensor in rounded.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim > 1:
            scale = np.abs(value).max(axis=tuple(range(1, value.ndim)), keepdims=True) / LEVELS
            scale = np.where(scale > 0, scale, 1)  # a channel that the training switched off
            tensor.CopyFrom(numpy_helper.from_array((np.round(value / scale) * scale).astype(np.float32), tensor.name))
    return rounded


def compare(plain: Logits, other: Logits) -> dict[str, float]:
    """How far logits are from those in single precision."""
    apart = np.abs(plain - other)
    five = [set(row) for row in np.argsort(-plain, axis=1)[:, :5].tolist()]
    others = [set(row) for row in np.argsort(-other, axis=1)[:, :5].tolist()]
    return {
        "top1_agreement": float((plain.argmax(axis=1) == other.argmax(axis=1)).mean()),
        "top5_overlap": float(np.mean([len(one & two) / 5 for one, two in zip(five, others, strict=True)])),
        "mean_difference": float(apart.mean()),
        "largest_difference": float(apart.max()),
    }


def evaluate(models: Mapping[str, OnnxModel], card: ModelCard, data: Path) -> dict[str, Any]:
    """Compare ways of storage on all photographs, and name the subjects of those whose subject is known.

    Args:
        models: "float32", which the others are compared with, "float16", the released one, and further ones.
        card: of the released one.
        data: folder of the data sets.
    """
    files = photographs(data)
    logits = {name: logits_of(model, files, card) for name, model in models.items()}
    result = {
        "photographs": len(files),
        "storage": {name: compare(logits["float32"], logits[name]) for name in models if name != "float32"},
        "subjects": _subjects(logits["float16"], files, card, data),
    }
    EVALUATION.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _subjects(logits: Logits, files: Sequence[Path], card: ModelCard, data: Path) -> dict[str, Any]:
    names = [str(name) for name in card.parameters["classes"]]  # type: ignore[union-attr]
    rows = dict(zip(files, logits, strict=True))
    found = {}
    for path, right in subjects(data).items():
        chances = np.exp(rows[path] - rows[path].max())
        chances /= chances.sum()
        order = np.argsort(-chances)[:5]
        found[path.stem] = {
            "right": list(right),
            "top5": {names[label]: round(float(chances[label]), 3) for label in order},
            "first": names[order[0]] in right,
            "among_five": any(names[label] in right for label in order),
        }
    return found
