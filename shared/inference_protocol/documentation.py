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

    name: str = Field(description="Name of the tensor")
    datatype: str = Field(description="Type of the elements, in the protocol's words", examples=["FP32"])
    shape: list[int] = Field(description="-1 stands for any size", examples=[[-1, 3, 32, 32]])


class ModelMetadata(BaseModel):
    """What a model takes and gives (Open Inference Protocol, "Model Metadata")."""

    name: str = Field(description="Name of the model")
    versions: list[str] = Field(description="Versions that can be asked")
    platform: str = Field(description="What runs it")
    inputs: list[TensorMetadata] = Field(description="What it takes")
    outputs: list[TensorMetadata] = Field(description="What it gives")


class ModelReadiness(BaseModel):
    """Whether a model can be asked."""

    name: str = Field(description="Name of the model")
    ready: bool = Field(description="Whether it can be asked")


_TENSOR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string", "description": "Name of the tensor"},
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "description": "Sizes, the batch first where there is one",
        },
        "datatype": {"type": "string", "description": "Type of the elements", "examples": ["FP32"]},
        "parameters": {
            "type": "object",
            "description": "Of the binary tensor extension",
            "properties": {"binary_data_size": {"type": "integer", "description": "Bytes of it behind the JSON"}},
        },
        "data": {
            "type": "array",
            "items": {},
            "description": (
                "Elements, nested or flat; absent where they come as bytes. JSON has no word for NaN and infinities: "
                "in answers each is null, and null is NaN in inputs of floating numbers. Bytes keep them all"
            ),
        },
    },
}

_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"], "description": "Given back"},
        "parameters": {
            "type": "object",
            "description": "How it is to be answered",
            "properties": {
                "binary_data_output": {"type": "boolean", "description": "All outputs as bytes behind the JSON"},
                "timeout": {"type": "integer", "description": "Microseconds after which no answer is wanted"},
            },
        },
        "inputs": {"type": "array", "items": _TENSOR, "description": "All inputs of the model"},
        "outputs": {
            "type": "array",
            "description": "Wanted outputs, all by default",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "description": "Name of the output"}},
            },
        },
    },
}

_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string", "description": "Name of the model"},
        "model_version": {"type": "string", "description": "Version that answered"},
        "id": {"type": "string", "description": "As in the request"},
        "parameters": {
            "type": "object",
            "description": "Which weights answered",
            "properties": {"weights_sha256": {"type": "string", "description": "Digest of the weights"}},
        },
        "outputs": {"type": "array", "items": _TENSOR, "description": "The outputs that were wanted"},
    },
}

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}

_EXAMPLE: Final[dict[str, Any]] = {
    "inputs": [
        {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.4] * 64},
        {"name": "noise_level", "shape": [1], "datatype": "FP32", "data": [0.01]},
    ]
}
"""Of the model that is the example of names elsewhere; pictures of others are too large to be read."""

INFER_REQUEST: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _REQUEST, "example": _EXAMPLE},
            "application/octet-stream": _BINARY,
        },
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
