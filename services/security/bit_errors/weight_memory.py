"""The weights of any ONNX classifier as a memory of eight-bit words, and what is read from it when cells fail.

Floating-point weights are stored as int8 with one scale for each tensor (`quantisation`), and what is read is given to
the graph in their own type. Weights that a quantised graph stores in eight bits (QDQ, QOperator) are the memory: their
bytes are read as they are, and the graph's own scales stay.

Imports the onnx package, which parses other people's bytes natively: serving processes import this in no route.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from services.security.bit_errors.faults import FaultModel, draw_faults
from services.security.bit_errors.quantisation import quantise
from services.security.bit_errors.weight_layers import (
    UnreadableMemory,
    WeightLayer,
    WeightLayers,
    find_weight_layers,
    load_model,
)

__all__ = ["StoredTensor", "UnreadableMemory", "WeightMemory", "read_stated"]

_FLOATING: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
_BYTES: Final = frozenset({TensorProto.INT8, TensorProto.UINT8})

_LARGEST_SCALAR: Final = 1
"""Elements of a tensor that is a factor rather than a layer's weights."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the memory.

    Attributes:
        name: of the initialiser, or of the output of the constant node that states it.
        layer: name of the layer for people; unique within the memory.
        operator: that multiplies by it, such as `Conv`.
        values: int8 of the tensor's shape: the stored bytes.
        scale: that one step is worth; None where the graph has its own.
        dtype: that the graph takes it as.
    """

    name: str
    layer: str
    operator: str
    values: NDArray[np.int8]
    scale: float | None
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return self.values.shape

    @property
    def count(self) -> int:
        """Weights, and bytes."""
        return self.values.size

    def as_graph_input(self, read: NDArray[np.int8]) -> NDArray[Any]:
        """What the graph is given for bytes that were read: of `dtype` and the tensor's shape."""
        if self.scale is None:
            return read.view(self.dtype)
        weights = read.astype(np.float32) * np.float32(self.scale)
        return weights if self.dtype == np.float32 else weights.astype(self.dtype)


@dataclass(frozen=True, slots=True)
class WeightMemory:
    """The stored weights of one model.

    Attributes:
        tensors: in the order in which the graph uses them; a tensor's place is its number for `draw_faults`.
        computed_layers: names of layers whose weights the graph computes, so that none of theirs are stored.
    """

    tensors: tuple[StoredTensor, ...]
    computed_layers: tuple[str, ...] = ()

    @classmethod
    def read(cls, model: bytes | onnx.ModelProto) -> WeightMemory:
        """The memory of a model.

        Args:
            model: ONNX, its weights inside.

        Raises:
            UnreadableMemory: there are no weights, or weights that cannot be stored in eight bits.
        """
        loaded = load_model(model) if isinstance(model, bytes) else model
        found = find_weight_layers(loaded)
        tensors = tuple(_stored(layer) for layer in found.layers if _elements(layer.tensor) > _LARGEST_SCALAR)
        if not tensors:
            raise UnreadableMemory(_reason_of_none(found))
        return cls(tensors, found.computed)

    @property
    def count(self) -> int:
        """Weights, which is bytes, of all tensors."""
        return sum(tensor.count for tensor in self.tensors)

    @property
    def quantised_by_graph(self) -> bool:
        """Whether all bytes are stated by the model itself, so that storing them changes nothing."""
        return all(tensor.scale is None for tensor in self.tensors)

    def read_faultless(self) -> dict[str, NDArray[Any]]:
        """All tensors as they are read when no cell fails, by name."""
        return {tensor.name: tensor.as_graph_input(tensor.values) for tensor in self.tensors}

    def perturbed(
        self, faults: FaultModel, seed: int, layers: Collection[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """What is read from the memory of one chip.

        Args:
            faults: which cells fail and how.
            seed: of the chip.
            layers: names of layers in failing memory; the others are read as they were written. All if None.

        Returns:
            All tensors by name, of the type and shape that the graph takes.

        Raises:
            KeyError: a layer that the memory does not have.
        """
        chosen = self._chosen(layers)
        read = {}
        for number, tensor in enumerate(self.tensors):
            values = tensor.values
            if tensor.layer in chosen:
                values = draw_faults(faults, seed, tensor.count, tensor=number).read(values)
            read[tensor.name] = tensor.as_graph_input(values)
        return read

    def _chosen(self, layers: Collection[str] | None) -> frozenset[str]:
        known = frozenset(tensor.layer for tensor in self.tensors)
        if layers is None:
            return known
        if unknown := sorted(set(layers) - known):
            raise KeyError(f"no such layer: {', '.join(unknown)}")
        return frozenset(layers)


def _elements(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims, dtype=np.int64))


def _stored(layer: WeightLayer) -> StoredTensor:
    tensor = layer.tensor
    if tensor.data_type not in _FLOATING | _BYTES:
        kind = TensorProto.DataType.Name(tensor.data_type).lower()
        raise UnreadableMemory(
            f"the weights of {layer.layer} are stored as {kind}; int8, uint8 and floating-point weights are read"
        )
    values = numpy_helper.to_array(tensor)
    if tensor.data_type in _BYTES:
        stored = np.ascontiguousarray(values).view(np.int8)
        return StoredTensor(layer.name, layer.layer, layer.operator, stored, None, values.dtype)
    try:
        quantised = quantise(values.astype(np.float32))
    except ValueError:
        raise UnreadableMemory(f"the weights of {layer.layer} hold NaN or infinite numbers") from None
    return StoredTensor(layer.name, layer.layer, layer.operator, quantised.values, quantised.scale, values.dtype)


def _reason_of_none(found: WeightLayers) -> str:
    if found.computed:
        return (
            f"the weights of its layers ({', '.join(found.computed[:3])}) are computed by the graph, not stated in it: "
            "export the model with constants folded"
        )
    return "it has no convolution and no matrix product with weights of its own"


def read_stated(model: bytes) -> dict[str, NDArray[Any]]:
    """The weights of a model as its file states them, before they are stored: what `WeightMemory.read` reads.

    Raises:
        UnreadableMemory: as of `WeightMemory.read`.
    """
    layers = find_weight_layers(load_model(model)).layers
    return {one.name: numpy_helper.to_array(one.tensor) for one in layers if _elements(one.tensor) > _LARGEST_SCALAR}
