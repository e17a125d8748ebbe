"""An inference answer as bytes: JSON, with the tensors that were wanted raw behind it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference_protocol.datatypes import BYTES
from shared.inference_protocol.large_numbers import render_answer
from shared.inference_protocol.signature import Signature

Array = NDArray[Any]


def write_answer(
    signature: Signature, outputs: Mapping[str, Array], *, raw: Mapping[str, bool], request_id: str, digest: str
) -> tuple[bytes, int | None]:
    """The body of an answer.

    Args:
        signature: of the model that answered.
        outputs: its outputs by name, those that were wanted, in that order.
        raw: for each, whether it comes as raw bytes.
        request_id: the caller's; empty where it gave none.
        digest: sha256 of the weights, given as a parameter, so that an answer names what made it.

    Returns:
        The body, and the length of the JSON in front where raw tensors follow it.
    """
    listed: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, array in outputs.items():
        datatype = signature.outputs[name].datatype
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
        if raw[name]:
            part = _raw(array, datatype)
            parts.append(part)
            entry["parameters"] = {"binary_data_size": len(part)}
        else:
            entry["data"] = _listed(array, datatype)
        listed.append(entry)
    document: dict[str, Any] = {
        "model_name": signature.name,
        "model_version": signature.version,
        "parameters": {"weights_sha256": digest},
        "outputs": listed,
    }
    if request_id:
        document["id"] = request_id
    header = render_answer(document)
    return (b"".join((header, *parts)), len(header)) if parts else (header, None)


def _raw(array: Array, datatype: str) -> bytes:
    if datatype != BYTES:
        return np.ascontiguousarray(array).tobytes()
    elements = (str(element).encode() for element in array.reshape(-1))
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _listed(array: Array, datatype: str) -> Any:
    if datatype == BYTES:
        return [str(element) for element in array.reshape(-1)]
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.astype(np.float32) if flat.dtype == np.float16 else flat
