"""Reads graph models of TensorFlow.js: a JSON file of nodes, and a manifest of the weights in files beside it.

The layout is that of tfjs-core's `decodeWeights` and of TensorFlow's GraphDef in JSON, where texts stand in base64 and
whole numbers in quotes. Nothing of TensorFlow is needed.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PLAIN: Final[Mapping[str, np.dtype[Any]]] = {
    "float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "bool": np.dtype("?"),
}  # fmt: skip
_STORED: Final[Mapping[str, np.dtype[Any]]] = {
    "float16": np.dtype("<f2"), "uint8": np.dtype("u1"), "uint16": np.dtype("<u2"),
}  # fmt: skip
"""Of weights that are written in fewer bits than they are used with."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator.

    Attributes:
        name: its own.
        kind: as TensorFlow calls it.
        inputs: names of nodes, with `:n` for any but the first output.
        attributes: plain values by name; those that are types are left out.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GraphModel:
    """What the two files say.

    Attributes:
        nodes: by name, in the order of the file: a node comes after those that it needs.
        constants: by name of their node.
    """

    nodes: Mapping[str, Node]
    constants: Mapping[str, NDArray[Any]]


def read_graph_model(description: bytes, files: Mapping[str, bytes]) -> GraphModel:
    """Read a model.

    Args:
        description: the JSON file.
        files: with weights, by their path in the manifest.

    Raises:
        ValueError: it is no graph model, or the files do not hold what the manifest says.
    """
    document = json.loads(description)
    if document.get("format") != "graph-model":
        raise ValueError(f"a graph model is wanted, this is {document.get('format')!r}")
    constants: dict[str, NDArray[Any]] = {}
    for group in document["weightsManifest"]:
        constants |= read_weights(group["weights"], b"".join(files[path] for path in group["paths"]))
    return GraphModel({one["name"]: _node(one) for one in document["modelTopology"]["node"]}, constants)


def read_weights(entries: Sequence[Mapping[str, Any]], content: bytes) -> dict[str, NDArray[Any]]:
    """Arrays by name, of the dtype that they are used with.

    Args:
        entries: of the manifest: `name`, `shape`, `dtype` and, for fewer bits, `quantization`.
        content: the arrays one after another, little-endian, without gaps.

    Raises:
        ValueError: an unknown dtype, or content of another length.
    """
    found: dict[str, NDArray[Any]] = {}
    place = 0
    for entry in entries:
        stored, count = _stored(entry), math.prod(entry["shape"])
        end = place + count * stored.itemsize
        if end > len(content):
            raise ValueError(f"{entry['name']} ends at byte {end} of {len(content)}")
        flat = np.frombuffer(content[place:end], stored)
        found[entry["name"]] = _restored(flat, entry).reshape(entry["shape"])
        place = end
    if place != len(content):
        raise ValueError(f"{len(content) - place} bytes are left")
    return found


def _stored(entry: Mapping[str, Any]) -> np.dtype[Any]:
    """What elements are in the file."""
    if "quantization" in entry:
        found, name = _STORED.get(entry["quantization"]["dtype"]), entry["quantization"]["dtype"]
    else:
        found, name = _PLAIN.get(entry["dtype"]), entry["dtype"]
    if found is None or entry["dtype"] not in _PLAIN:
        raise ValueError(f"{entry['name']} is of {entry['dtype']} as {name}, which is not known here")
    return found


def _restored(values: NDArray[Any], entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, quantization = _PLAIN[entry["dtype"]], entry.get("quantization", {})
    if "scale" in quantization:
        # Whole numbers stand for an affine scale; in double precision, so that it is rounded once.
        values = values.astype(np.float64) * quantization["scale"] + quantization["min"]
        values = np.rint(values) if dtype.kind == "i" else values
    return values.astype(dtype)


def _node(entry: Mapping[str, Any]) -> Node:
    attributes = {name: _value(one) for name, one in entry.get("attr", {}).items() if "type" not in one}
    return Node(entry["name"], entry["op"], tuple(entry.get("input", ())), attributes)


def _value(written: Mapping[str, Any]) -> Any:
    """A value of an attribute, which is written as an object of one key that names its type."""
    ((kind, value),) = written.items()
    if kind == "s":
        return base64.b64decode(value).decode()
    if kind == "i":
        return int(value)
    if kind == "list":
        return [_value({inner: one}) for inner, several in value.items() for one in several]
    return value
