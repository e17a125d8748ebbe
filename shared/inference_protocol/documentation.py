"""What OpenAPI says of the protocol's routes; the thin ones know no models of Pydantic."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from shared.problems import (
    BadRequest,
    ContentTooLarge,
    GatewayTimeout,
    NotFound,
    ServiceUnavailable,
    UnprocessableContent,
    UnsupportedMediaType,
    problem_responses,
)


class TensorMetadata(BaseModel):
    """One input or output."""

    name: str
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(description="-1 stands for any size", examples=[[-1, 3, 32, 32]])


class ModelMetadata(BaseModel):
    """What a model takes and gives (Open Inference Protocol, "Model Metadata")."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReadiness(BaseModel):
    """Whether a model can be asked."""

    name: str
    ready: bool


_TENSOR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "examples": ["FP32"]},
        "parameters": {
            "type": "object",
            "properties": {"binary_data_size": {"type": "integer", "description": "Bytes of it behind the JSON"}},
        },
        "data": {
            "type": "array",
            "items": {},  # the same meaning in 3.1; generators of clients want to see it
            "description": "Elements, nested or flat; absent where they come as bytes. null is no finite number",
        },
    },
}

_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Given back"},
        "parameters": {
            "type": "object",
            "properties": {
                "binary_data_output": {"type": "boolean", "description": "All outputs as bytes behind the JSON"},
                "timeout": {"type": "integer", "description": "Microseconds after which no answer is wanted"},
            },
        },
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {
            "type": "array",
            "description": "Wanted outputs, all by default",
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    },
}

_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object", "properties": {"weights_sha256": {"type": "string"}}},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}

INFER_REQUEST: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _REQUEST}, "application/octet-stream": _BINARY},
    }
}
"""JSON, or the same JSON with raw little-endian tensors behind it and its length in a header."""

INFER_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The outputs",
        "content": {"application/json": {"schema": _ANSWER}, "application/octet-stream": _BINARY},
    },
    **problem_responses(
        BadRequest,
        NotFound,
        ContentTooLarge,
        UnsupportedMediaType,
        UnprocessableContent,
        ServiceUnavailable,
        GatewayTimeout,
    ),
}
