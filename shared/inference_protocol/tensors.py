"""One input tensor of a request, from raw bytes or from JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference_protocol.datatypes import BYTES
from shared.inference_protocol.signature import Tensor
from shared.problems import field_problem

Array = NDArray[Any]

_DEEPEST = 64
"""Lists within lists; as many as a NumPy array has axes."""


def tensor_from_bytes(part: memoryview, pointer: str, tensor: Tensor, shape: list[int]) -> Array:
    """An input that came as raw bytes: a view of the body, where its elements have a fixed size.

    Args:
        part: the bytes of this tensor.
        pointer: JSON pointer to what says how many they are.
        tensor: what the model takes.
        shape: as the request says.

    Raises:
        UnprocessableContent: they are not what the shape says.
    """
    count = math.prod(shape)
    if tensor.datatype == BYTES:
        return _elements(part, pointer, count).reshape(shape)
    if len(part) != count * tensor.dtype.itemsize:
        detail = f"{tensor.name} of shape {shape} has {count * tensor.dtype.itemsize} bytes; this says {len(part)}."
        raise field_problem(pointer, detail)
    return np.frombuffer(part, tensor.dtype).reshape(shape)


def _elements(part: memoryview, pointer: str, count: int) -> Array:
    """Elements of any length, each behind its length in four bytes, little endian."""
    found: list[str] = []
    place = 0
    while place < len(part):
        end = place + 4 + int.from_bytes(part[place : place + 4], "little")
        if place + 4 > len(part) or end > len(part):
            raise field_problem(pointer, f"Element {len(found)} is longer than what is left of the tensor.")
        found.append(_text(bytes(part[place + 4 : end]), pointer))
        place = end
    if len(found) != count:
        raise field_problem(pointer, f"The shape has {count} elements, and there are {len(found)}.")
    return np.array(found, dtype=object)


def _text(element: bytes, pointer: str) -> str:
    try:
        return element.decode("utf-8")
    except UnicodeDecodeError:
        raise field_problem(pointer, "An element is not UTF-8, which texts of ONNX are.") from None


def tensor_from_json(item: dict[str, Any], pointer: str, tensor: Tensor, shape: list[int]) -> Array:
    """An input that came as JSON.

    Args:
        item: the request's entry for it.
        pointer: JSON pointer to that.
        tensor: what the model takes.
        shape: as the request says.

    Raises:
        UnprocessableContent: its elements are not of the model's type, or not as many as the shape says.
    """
    data = item.get("data")
    if not isinstance(data, list):
        raise field_problem(f"{pointer}/data", "This must be a list of elements, or binary_data_size be given.")
    if tensor.datatype == BYTES:
        texts = _texts(data, pointer)
        return texts.reshape(_checked(texts.size, shape, pointer))
    try:
        found = _numbers(data, tensor)
    except ValueError:
        detail = f"Its lists differ in length, or are more than {_DEEPEST} deep."
        raise field_problem(f"{pointer}/data", detail) from None
    if found.dtype.kind not in ("b" if tensor.datatype == "BOOL" else "iuf"):
        raise field_problem(f"{pointer}/data", f"Elements of {tensor.datatype} are wanted.")
    return _converted(found, pointer, tensor).reshape(_checked(found.size, shape, pointer))


def _numbers(data: list[Any], tensor: Tensor) -> Array:
    found = np.array(data)
    if tensor.datatype == "UINT64" and found.dtype.kind == "f":
        # NumPy makes float64 of whole numbers of which some are beyond INT64 and others are not.
        exact = np.array(data, dtype=object)
        if all(type(number) is int and 0 <= number < 2**64 for number in exact.flat):
            return exact.astype(np.uint64)
    return found


def _converted(found: Array, pointer: str, tensor: Tensor) -> Array:
    if tensor.dtype.kind in "iu":
        limits = np.iinfo(tensor.dtype)
        if found.dtype.kind == "f" or found.min() < limits.min or found.max() > limits.max:
            detail = f"Whole numbers from {limits.min} to {limits.max} are wanted."
            raise field_problem(f"{pointer}/data", detail)
    with np.errstate(over="ignore"):
        converted = found.astype(tensor.dtype)
    if tensor.dtype.kind == "f" and not np.isfinite(converted).all():
        detail = f"{tensor.datatype} holds numbers up to {np.finfo(tensor.dtype).max}; one is beyond."
        raise field_problem(f"{pointer}/data", detail)
    return converted


def _texts(data: list[Any], pointer: str) -> Array:
    leaves = data
    for _ in range(_DEEPEST):
        if not any(isinstance(leaf, list) for leaf in leaves):
            break
        leaves = [leaf for item in leaves for leaf in (item if isinstance(item, list) else [item])]
    else:
        raise field_problem(f"{pointer}/data", f"Its lists are more than {_DEEPEST} deep.")
    if not all(isinstance(leaf, str) for leaf in leaves):
        raise field_problem(f"{pointer}/data", "Texts are wanted.")
    return np.array(leaves, dtype=object)


def _checked(count: int, shape: list[int], pointer: str) -> list[int]:
    if count != math.prod(shape):
        raise field_problem(f"{pointer}/data", f"The shape has {math.prod(shape)} elements, and there are {count}.")
    return shape
