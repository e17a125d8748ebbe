"""An inference request, read by hand: JSON, or JSON with raw tensors behind it (Triton's binary tensor extension)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from shared.http.direct import Body
from shared.inference_protocol.large_numbers import parse_request
from shared.inference_protocol.signature import Signature, Tensor
from shared.inference_protocol.tensors import Array, tensor_from_bytes, tensor_from_json
from shared.problems import BadRequest, FieldError, UnprocessableContent, field_problem


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
        truths: whether there is true or false anywhere in the JSON.
    """

    document: dict[str, Any]
    raw: memoryview
    truths: bool

    @property
    def id(self) -> str:
        """The caller's id; empty where it gave none, or null.

        Raises:
            UnprocessableContent: it is no text.
        """
        request_id = self.document.get("id")
        if request_id is None:
            return ""
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
        return _parts(body, memoryview(b""))
    if header_bytes > len(body):
        raise BadRequest(
            f"Inference-Header-Content-Length says {header_bytes} bytes of JSON, and the body has {len(body)}."
        )
    whole = memoryview(body)
    return _parts(whole[:header_bytes], whole[header_bytes:])


def _parts(text: Body, raw: memoryview) -> RequestParts:
    text = bytes(text) if isinstance(text, memoryview) else text
    return RequestParts(_object(text), raw, truths=b"true" in text or b"false" in text)


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
    inputs = _inputs(parts, signature)
    timeout_us = _parameter(document, "timeout", "/body") or 0
    return InferenceRequest(parts.id, inputs, _outputs(document, signature), timeout_us / 1e6)


def _object(text: bytes | bytearray) -> dict[str, Any]:
    try:
        document = parse_request(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The request is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise BadRequest("The request must be a JSON object with a member inputs.")
    return document


def _inputs(parts: RequestParts, signature: Signature) -> dict[str, Array]:
    listed, raw = parts.document.get("inputs"), parts.raw
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
            found[tensor.name] = tensor_from_json(item, pointer, tensor, shape, truths=parts.truths)
        else:
            part, raw = _cut(raw, size, pointer)
            found[tensor.name] = tensor_from_bytes(part, f"{pointer}/parameters/binary_data_size", tensor, shape)
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
