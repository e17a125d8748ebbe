"""One input tensor of a request, from raw bytes or from JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.inference_protocol.datatypes import BYTES
from shared.inference_protocol.large_numbers import LargeList, NumberText
from shared.inference_protocol.large_texts import TextList
from shared.inference_protocol.signature import Tensor
from shared.problems import BadRequest, UnprocessableContent, field_problem

Array = NDArray[Any]

_DEEPEST = 64
"""Lists within lists; as many as a NumPy array has axes."""

_EXACT = 2**53
"""Below it each whole number is a floating one of 64 bits."""


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
    found = np.frombuffer(part, tensor.dtype if tensor.datatype != "BOOL" else np.uint8).reshape(shape)
    if tensor.datatype != "BOOL":
        return found
    if (found > 1).any():
        raise field_problem(pointer, f"{tensor.name} is BOOL, whose bytes are 0 or 1; one is {found.max()}.")
    return found.view(np.bool_)


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


def tensor_from_json(
    item: dict[str, Any], pointer: str, tensor: Tensor, shape: list[int], *, truths: bool = True
) -> Array:
    """An input that came as JSON, its lists nested or flat. null is NaN among floating numbers, as in answers.

    Args:
        item: the request's entry for it.
        pointer: JSON pointer to that.
        tensor: what the model takes.
        shape: as the request says.
        truths: whether there may be true or false in it.

    Raises:
        BadRequest: it is a list of which the JSON is not valid.
        UnprocessableContent: its elements are not of the model's type, or not as many as the shape says.
    """
    data = item.get("data")
    if isinstance(data, NumberText | TextList):
        found = _in_pieces(data, pointer, tensor, shape, truths=truths)
        if found is not None:
            return found
        data = _parsed(data)
    if not isinstance(data, list):
        raise field_problem(f"{pointer}/data", "This must be a list of elements, or binary_data_size be given.")
    found = _texts(data, pointer) if tensor.datatype == BYTES else elements_of(data, pointer, tensor, truths=truths)
    return found.reshape(_checked(found.size, shape, pointer))


def _in_pieces(data: LargeList, pointer: str, tensor: Tensor, shape: list[int], *, truths: bool) -> Array | None:
    if isinstance(data, TextList):
        if tensor.datatype != BYTES:
            return None
        try:
            found = data.array(math.prod(shape))
        except orjson.JSONDecodeError:
            return None  # the parser says where
        return None if found is None else found.reshape(shape)
    if tensor.datatype == BYTES:
        return None
    return data.array(shape, tensor.dtype, lambda piece: elements_of(piece, pointer, tensor, truths=truths))


def _parsed(data: LargeList) -> Any:
    try:
        return data.parsed()
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The request is not valid JSON, in a list of elements: {error}.") from None


def elements_of(data: list[Any], pointer: str, tensor: Tensor, *, truths: bool = True) -> Array:
    """Elements that are no texts, in nested lists or flat.

    Raises:
        UnprocessableContent: they are not of the model's type.
    """
    found = _as_array(data, pointer)
    if not found.size:
        return np.empty(found.shape, tensor.dtype)
    if tensor.datatype == "BOOL":
        if found.dtype.kind != "b":
            raise _wrong_elements(pointer, tensor)
        return found
    if found.dtype.kind not in "iuf" or (truths and _has_truths(data)):
        found = _as_array(data, pointer, object)
        allowed = {int, float, type(None)} if tensor.dtype.kind == "f" else {int, float}
        if not set(map(type, found.flat)) <= allowed:
            raise _wrong_elements(pointer, tensor)
    return _whole(data, found, pointer, tensor) if tensor.dtype.kind in "iu" else _floating(found, pointer, tensor)


def _as_array(data: list[Any], pointer: str, dtype: Any = None) -> Array:
    try:
        return np.array(data, dtype)
    except ValueError:
        detail = f"Its lists differ in length, or are more than {_DEEPEST} deep."
        raise field_problem(f"{pointer}/data", detail) from None


def _has_truths(data: list[Any]) -> bool:
    """Whether true or false is among them, which NumPy takes for numbers beside numbers."""
    while data and isinstance(data[0], list):
        data = [leaf for item in data for leaf in item]
    return bool in set(map(type, data))


def _wrong_elements(pointer: str, tensor: Tensor) -> UnprocessableContent:
    return field_problem(f"{pointer}/data", f"Elements of {tensor.datatype} are wanted.")


def _floating(found: Array, pointer: str, tensor: Tensor) -> Array:
    with np.errstate(over="ignore"):
        converted = found.astype(tensor.dtype)
    if np.isinf(converted).any():
        detail = f"{tensor.datatype} holds numbers up to {np.finfo(tensor.dtype).max}; one is beyond."
        raise field_problem(f"{pointer}/data", detail)
    return converted


def _whole(data: list[Any], found: Array, pointer: str, tensor: Tensor) -> Array:
    """Whole numbers, also those that are written as 2.0 or 1e3."""
    limits, whole = np.iinfo(tensor.dtype), True
    if found.dtype.kind not in "iu":  # a float among them, or NumPy has no type for all of them
        found = _as_array(data, pointer, object)
        whole = all(type(number) is int or _is_exact(number) for number in found.flat)
    if not whole or found.min() < limits.min or found.max() > limits.max:
        detail = f"Whole numbers from {limits.min} to {limits.max} are wanted."
        raise field_problem(f"{pointer}/data", detail)
    return found.astype(tensor.dtype)


def _is_exact(number: float) -> bool:
    """Whether it is whole, and no other whole number is rounded to it."""
    return number.is_integer() and abs(number) < _EXACT


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
