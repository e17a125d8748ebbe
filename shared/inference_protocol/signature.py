"""What a model takes and gives in the protocol's words, made once of its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from shared.inference_protocol.datatypes import BYTES, DTYPES, datatype_of
from shared.runtime.cards import TensorDescription, UploadedCard

BATCH: Final = "batch"
"""The name of an axis that requests are stacked along."""

PLATFORM: Final = "onnxruntime_onnx"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    Attributes:
        name: in the graph.
        datatype: of the protocol.
        dtype: of NumPy, little endian.
        shape: a size for each axis; -1 for any.
        axes: a name for each axis of any size, else an empty text.
    """

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    axes: tuple[str, ...]

    def admits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape is one of these."""
        if len(shape) != len(self.shape):
            return False
        return all(wanted in (-1, size) for wanted, size in zip(self.shape, shape, strict=True))

    def metadata(self) -> dict[str, Any]:
        """As model metadata describes it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class Signature:
    """All tensors of a model.

    Attributes:
        name: of the model.
        version: of the model.
        inputs: by name, in the order of the card.
        outputs: likewise.
        stackable: whether requests may be stacked along the first axis of every tensor.
    """

    name: str
    version: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    stackable: bool

    @property
    def takes_texts(self) -> bool:
        """Whether an input is made of texts, each of which is an object."""
        return any(tensor.datatype == BYTES for tensor in self.inputs.values())


@lru_cache(maxsize=1024)
def _signature(name: str, version: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Signature:
    stackable = all(tensor.axes[:1] == (BATCH,) for tensor in (*inputs, *outputs))
    return Signature(
        name, version, {one.name: one for one in inputs}, {one.name: one for one in outputs}, stackable=stackable
    )


def signature_of(card: UploadedCard) -> Signature:
    """The signature of a model.

    Raises:
        KeyError: a tensor has a dtype that the protocol does not know.
    """
    inputs, outputs = (tuple(map(_tensor, tensors)) for tensors in (card.inputs, card.outputs))
    return _signature(card.name, card.version, inputs, outputs)


def _tensor(description: TensorDescription) -> Tensor:
    datatype = datatype_of(description.dtype)
    return Tensor(
        name=description.name,
        datatype=datatype,
        dtype=DTYPES[datatype],
        shape=tuple(side if isinstance(side, int) else -1 for side in description.shape),
        axes=tuple(side if isinstance(side, str) else "" for side in description.shape),
    )
