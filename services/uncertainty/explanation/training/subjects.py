"""What explanations are measured on: classifiers at a chosen size, and mosaics of signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from services.declarations import SERVICES
from services.uncertainty.explanation.graphs import TrustedSource
from services.uncertainty.explanation.inference import Explainer, Explanation
from services.uncertainty.explanation.methods import Method
from shared.datasets.traffic_signs import SIDE, Signs
from shared.runtime.cards import ModelCard, read_card, read_weights
from shared.runtime.models.registry import newest_folder

Array = NDArray[np.float32]


def sign_classifier() -> tuple[ModelCard, onnx.ModelProto]:
    """The released traffic-sign classifier."""
    folder = newest_folder(SERVICES / "perception" / "models", "traffic-signs")
    card = read_card(folder)
    return card, onnx.load_model_from_string(read_weights(folder, card))


def at_size(model: onnx.ModelProto, side: int) -> onnx.ModelProto:
    """The model for pictures of another size; convolutions and global pooling do not mind."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    axes = other.graph.input[0].type.tensor_type.shape.dim
    axes[2].dim_value = axes[3].dim_value = side
    del other.graph.value_info[:]
    return other


def explainer_of(model: onnx.ModelProto, card: ModelCard, *, threads: int) -> Explainer:
    """An explainer of a model whose input and output have the names of the card's."""
    return Explainer(card, TrustedSource(model.SerializeToString), threads=threads)


def load_model(path: Path) -> onnx.ModelProto:
    """A model from disk."""
    return onnx.load(str(path))


def maps_of(
    explainer: Explainer, pictures: Array, method: Method, targets: NDArray[np.int64], *, batch: int = 4
) -> Array:
    """Relevance (count, height, width) of one class for each picture."""
    return np.concatenate([one.relevance for one in _each(explainer, pictures, method, targets, batch)])


def logits_of(explainer: Explainer, pictures: Array, *, batch: int = 64) -> Array:
    """Logits (count, classes)."""
    nobody = np.full(len(pictures), -1, np.int64)
    return np.concatenate([one.logits for one in _each(explainer, pictures, Method.CENTRE, nobody, batch)])


def _each(
    explainer: Explainer, pictures: Array, method: Method, targets: NDArray[np.int64], batch: int
) -> list[Explanation]:
    starts = range(0, len(pictures), batch)
    return [
        explainer.explain(pictures[at : at + batch], method, targets=targets[at : at + batch], seed=at) for at in starts
    ]


@dataclass(frozen=True, slots=True)
class Mosaics:
    """Four signs of four classes in a square, one of which is asked for.

    Attributes:
        pictures: float32 (count, 3, 64, 64).
        targets: class asked for, (count,).
        masks: its quarter, bool (count, 64, 64).
    """

    pictures: Array
    targets: NDArray[np.int64]
    masks: NDArray[np.bool_]


def mosaics(signs: Signs, logits: Array, *, count: int, seed: int = 0, confidence: float = 0.99) -> Mosaics:
    """The grid pointing game (Bohle et al. 2021, section 4.2): signs that the network is sure of, rightly, in 2x2."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure = exponents.max(axis=1) / exponents.sum(axis=1) > confidence
    usable = np.flatnonzero(sure & (logits.argmax(axis=1) == signs.classes))
    random, tensors = np.random.default_rng(seed), signs.tensor()
    pictures, targets = np.zeros((count, 3, 2 * SIDE, 2 * SIDE), np.float32), np.zeros(count, np.int64)
    masks = np.zeros((count, 2 * SIDE, 2 * SIDE), bool)
    for index in range(count):
        labels = random.choice(np.unique(signs.classes[usable]), 4, replace=False)
        asked = int(random.integers(4))
        for cell, label in enumerate(labels):
            top, left = SIDE * (cell // 2), SIDE * (cell % 2)
            chosen = random.choice(usable[signs.classes[usable] == label])
            pictures[index, :, top : top + SIDE, left : left + SIDE] = tensors[chosen]
            if cell == asked:
                targets[index], masks[index, top : top + SIDE, left : left + SIDE] = label, True
    return Mosaics(pictures, targets, masks)
