"""A model in the words of Triton's model configuration, for clients that ask for it (its load generator does)."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.inference_protocol.datatypes import BYTES
from shared.inference_protocol.signature import PLATFORM, Signature, Tensor


class Reshape(BaseModel):
    """The sizes that the graph itself has, where `dims` cannot say them."""

    shape: list[int] = Field(description="Sizes of the tensor in the graph, without the batch")


class TensorConfiguration(BaseModel):
    """One input or output."""

    name: str = Field(description="Name of the tensor")
    data_type: str = Field(description="Type of the elements, in Triton's words", examples=["TYPE_FP32"])
    dims: list[int] = Field(description="Sizes, without the batch where max_batch_size is above 0; -1 for any")
    reshape: Reshape | None = Field(
        default=None, description="Sizes that the graph has for it, where `dims` cannot say them; null: the same"
    )


class DynamicBatching(BaseModel):
    """Present where requests that come at once are computed together."""


class ModelConfiguration(BaseModel):
    """The members of Triton's ModelConfig that have a meaning here (Triton, "Model Configuration Extension")."""

    name: str = Field(description="Name of the model")
    platform: str = Field(default=PLATFORM, description="What runs it")
    backend: str = Field(default="onnxruntime", description="Triton's name of what runs it")
    max_batch_size: int = Field(description="Rows of a batch; a request may have more. 0: there is no batch axis")
    input: list[TensorConfiguration] = Field(description="What it takes")
    output: list[TensorConfiguration] = Field(description="What it gives")
    dynamic_batching: DynamicBatching | None = Field(
        default=None, description="Present where requests that come at once are computed together"
    )


def configuration_of(signature: Signature, *, rows: int) -> ModelConfiguration:
    """The configuration of a model.

    Args:
        signature: of the model.
        rows: most rows that are computed together.
    """
    batched = signature.stackable
    return ModelConfiguration(
        name=signature.name,
        max_batch_size=rows if batched else 0,
        input=[_tensor(tensor, batched=batched) for tensor in signature.inputs.values()],
        output=[_tensor(tensor, batched=batched) for tensor in signature.outputs.values()],
        dynamic_batching=DynamicBatching() if batched else None,
    )


def _tensor(tensor: Tensor, *, batched: bool) -> TensorConfiguration:
    """Triton's sizes are never none at all: a row that is a single number is a list of one, reshaped."""
    sizes = list(tensor.shape[1:] if batched else tensor.shape)
    datatype = "STRING" if tensor.datatype == BYTES else tensor.datatype
    reshape = None if sizes else Reshape(shape=[])
    return TensorConfiguration(name=tensor.name, data_type=f"TYPE_{datatype}", dims=sizes or [1], reshape=reshape)
