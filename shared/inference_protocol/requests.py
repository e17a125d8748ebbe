"""An inference request, read by hand: JSON, or JSON with raw tensors behind it (Triton's binary tensor extension)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.http.express import Body
from shared.inference_protocol.datatypes import BYTES
from shared.inference_protocol.signature import Signature, Tensor
from shared.problems import BadRequest, FieldError, UnprocessableContent, field_problem

Array = NDArray[Any]

_DEEPEST = 64
"""Lists within lists; as many as a NumPy array has axes."""


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What is asked of a model.

    Attributes:
        id: the caller's, given back.
        inputs: tensors by name; views of the request's body wherever that is possible, so not to be written to.
        outputs: wanted outputs, with whether each is to come as raw bytes.
        timeout_s: seconds after which no answer is wanted (Triton's parameter `timeout`); 0 where none was given.
    """

    id: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, bool]
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestParts:
    """A request that was taken apart and not yet held against a model.

    Attributes:
        document: the JSON.
        raw: the raw tensors behind it.
    """

    document: dict[str, Any]
    raw: memoryview

    @property
    def id(self) -> str:
        """The caller's id; empty where it gave none.

        Raises:
            UnprocessableContent: it is no text.
        """
        request_id = self.document.get("id", "")
        if not isinstance(request_id, str):
            raise field_problem("/body/id", "This must be a text.")
        return request_id


def split_request(body: Body, *, header_bytes: int | None) -> RequestParts:
    """Take the body of a request apart.

    Args:
        body: as it came.
        header_bytes: length of the JSON in front of the raw tensors; None where all is JSON.

    Raises:
        BadRequest: it is not JSON, or is shorter than it says.
    """
    if header_bytes is None:
        return RequestParts(_object(body), memoryview(b""))
    if header_bytes > len(body):
        raise BadRequest(
            f"Inference-Header-Content-Length says {header_bytes} bytes of JSON, and the body has {len(body)}."
        )
    whole = memoryview(body)
    return RequestParts(_object(whole[:header_bytes]), whole[header_bytes:])


def read_request(parts: RequestParts, *, signature: Signature) -> InferenceRequest:
    """Hold a request against what the model takes.

    Args:
        parts: of its body.
        signature: of the model.

    Raises:
        BadRequest: it is longer than it says.
        UnprocessableContent: it is not what the model takes; the pointers name the fields.
    """
    document = parts.document
    inputs = _inputs(document, parts.raw, signature)
    timeout_us = _parameter(document, "timeout", "/body") or 0
    return InferenceRequest(parts.id, inputs, _outputs(document, signature), timeout_us / 1e6)


def _object(text: Body) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The request is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise BadRequest("The request must be a JSON object with a member inputs.")
    return document


def _inputs(document: dict[str, Any], raw: memoryview, signature: Signature) -> dict[str, Array]:
    listed = document.get("inputs")
    if not isinstance(listed, list):
        raise field_problem("/body/inputs", "This must be a list of input tensors.")
    found: dict[str, Array] = {}
    for index, item in enumerate(listed):
        pointer = f"/body/inputs/{index}"
        tensor = _known(item, pointer, signature)
        if tensor.name in found:
            raise field_problem(f"{pointer}/name", f"The input {tensor.name} is given twice.")
        shape = _shape(item, pointer, tensor)
        size = _parameter(item, "binary_data_size", pointer)
        if size is None:
            found[tensor.name] = _from_json(item, pointer, tensor, shape)
        else:
            part, raw = _cut(raw, size, pointer)
            found[tensor.name] = _from_bytes(part, f"{pointer}/parameters/binary_data_size", tensor, shape)
    if len(raw):
        raise BadRequest(f"The body has {len(raw)} bytes more than the sizes of its binary tensors add up to.")
    if missing := [name for name in signature.inputs if name not in found]:
        raise field_problem("/body/inputs", f"The model {signature.name} also needs: {', '.join(missing)}.")
    _require_one_size(found, signature)
    return found


def _known(item: Any, pointer: str, signature: Signature) -> Tensor:
    """The input that a list entry is about, its datatype compared."""
    if not isinstance(item, dict):
        raise field_problem(pointer, "This must be an object with name, shape, datatype and data.")
    tensor = signature.inputs.get(item["name"]) if isinstance(item.get("name"), str) else None
    if tensor is None:
        known = ", ".join(signature.inputs)
        raise field_problem(f"{pointer}/name", f"The model {signature.name} has no such input; it has: {known}.")
    if item.get("datatype") != tensor.datatype:
        raise field_problem(f"{pointer}/datatype", f"{tensor.name} is {tensor.datatype}.")
    parameters = item.get("parameters")
    if isinstance(parameters, dict) and "shared_memory_region" in parameters:
        raise field_problem(f"{pointer}/parameters/shared_memory_region", "Shared memory is not offered here.")
    return tensor


def _shape(item: dict[str, Any], pointer: str, tensor: Tensor) -> list[int]:
    shape = item.get("shape")
    if not isinstance(shape, list) or any(type(side) is not int or side < 0 for side in shape):
        raise field_problem(f"{pointer}/shape", "This must be a list of sizes, whole numbers from zero on.")
    if not tensor.admits(shape):
        sides = ", ".join(name or str(side) for name, side in zip(tensor.axes, tensor.shape, strict=True))
        raise field_problem(f"{pointer}/shape", f"{tensor.name} has the shape [{sides}]; this is {shape}.")
    if 0 in shape:
        raise field_problem(f"{pointer}/shape", f"{tensor.name} would be empty.")
    return shape


def _parameter(item: dict[str, Any], name: str, pointer: str) -> int | None:
    parameters = item.get("parameters")
    value = parameters.get(name) if isinstance(parameters, dict) else None
    if value is not None and (type(value) is not int or value < 0):
        raise field_problem(f"{pointer}/parameters/{name}", "This must be a whole number from zero on.")
    return value


def _cut(raw: memoryview, size: int, pointer: str) -> tuple[memoryview, memoryview]:
    if size > len(raw):
        raise BadRequest(
            f"The body ends {size - len(raw)} bytes before the end of this tensor.",
            errors=[FieldError(pointer=f"{pointer}/parameters/binary_data_size", detail="More than the body holds")],
        )
    return raw[:size], raw[size:]


def _from_bytes(part: memoryview, pointer: str, tensor: Tensor, shape: list[int]) -> Array:
    """A view of the body, where its elements have a fixed size."""
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


def _from_json(item: dict[str, Any], pointer: str, tensor: Tensor, shape: list[int]) -> Array:
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


def _require_one_size(found: Mapping[str, Array], signature: Signature) -> None:
    """Axes of one name have one size."""
    sizes: dict[str, int] = {}
    for name, array in found.items():
        for axis, size in zip(signature.inputs[name].axes, array.shape, strict=True):
            if axis and sizes.setdefault(axis, size) != size:
                detail = f"The axis {axis} has the size {sizes[axis]} in one input and {size} in another."
                raise field_problem("/body/inputs", detail)


def _outputs(document: dict[str, Any], signature: Signature) -> dict[str, bool]:
    everything = _flag(document.get("parameters"), "binary_data_output", "/body") or False
    listed = document.get("outputs")
    if listed is not None and not isinstance(listed, list):
        raise field_problem("/body/outputs", "This must be a list of wanted outputs.")
    if not listed:
        return dict.fromkeys(signature.outputs, everything)
    wanted: dict[str, bool] = {}
    for index, item in enumerate(listed):
        pointer = f"/body/outputs/{index}"
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in signature.outputs:
            known = ", ".join(signature.outputs)
            raise field_problem(f"{pointer}/name", f"The model {signature.name} has no such output; it has: {known}.")
        parameters = item.get("parameters")
        if isinstance(parameters, dict) and (refused := {"classification", "shared_memory_region"} & set(parameters)):
            raise field_problem(f"{pointer}/parameters/{min(refused)}", "This extension is not offered here.")
        flag = _flag(parameters, "binary_data", pointer)
        wanted[name] = everything if flag is None else flag
    return wanted


def _flag(parameters: Any, name: str, pointer: str) -> bool | None:
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise UnprocessableContent(
            "Parameters must be an object.", errors=[FieldError(pointer=f"{pointer}/parameters", detail="No object")]
        )
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise field_problem(f"{pointer}/parameters/{name}", "This must be true or false.")
    return value
