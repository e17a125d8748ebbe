"""From the body of an inference request to the body of its answer."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from starlette.types import Receive, Scope, Send

from shared.http.direct import Answer, Body, DirectResponse, read_body
from shared.inference_protocol.answers import write_answer
from shared.inference_protocol.datatypes import BYTES
from shared.inference_protocol.failures import computation_failures
from shared.inference_protocol.large_numbers import LARGE_BYTES, LARGE_ELEMENTS
from shared.inference_protocol.requests import InferenceRequest, read_request, split_request
from shared.inference_protocol.signature import Signature, signature_of
from shared.problems import BadRequest, NotFound, UnsupportedMediaType, field_problem
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.inspection.failure_reasons import reason_of
from shared.runtime.models.registry import ModelRegistry
from shared.runtime.models.sessions import OnnxModel
from shared.telemetry.timing import timed

HEADER_LENGTH: Final = b"inference-header-content-length"
_JSON: Final = (b"content-type", b"application/json")
_OCTETS: Final = (b"content-type", b"application/octet-stream")


class Inference:
    """Answers inference requests with the models of a service.

    Args:
        registry: the models.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._signatures: WeakKeyDictionary[OnnxModel, Signature] = WeakKeyDictionary()

    async def run(
        self, batchers: Batchers, body: Body, *, name: str, version: str | None, header_length: bytes | None
    ) -> DirectResponse:
        """Answer one request. Large JSON, and many texts, are read and written in a thread; see `large_numbers`.

        Args:
            batchers: of the service.
            body: of the request.
            name: of the model.
            version: wanted, None for the default one.
            header_length: value of Inference-Header-Content-Length, if it was given.

        Raises:
            Problem: the model is not there, the body is not what it takes, or it cannot be run now.
        """
        with timed("pre"):
            header_bytes = _header_bytes(header_length)
            large = (len(body) if header_bytes is None else header_bytes) > LARGE_BYTES
            split = partial(split_request, body, header_bytes=header_bytes)
            parts = await asyncio.to_thread(split) if large else split()
            model = self._registry.get(name, version, request_id=parts.id or None)
            signature = self.signature(model)
            read = partial(read_request, parts, signature=signature)
            large = large or (len(parts.raw) > LARGE_BYTES and signature.takes_texts)
            asked = await asyncio.to_thread(read) if large else read()
        outputs = await _compute(model, batchers, signature, asked)
        with timed("post"):
            write = partial(_answer, model, signature, asked, outputs)
            slow = (name for name, raw in asked.outputs.items() if not raw or signature.outputs[name].datatype == BYTES)
            most = max((outputs[name].size for name in slow), default=0)
            return await asyncio.to_thread(write) if most > LARGE_ELEMENTS else write()

    def signature(self, model: OnnxModel) -> Signature:
        """What the model takes and gives.

        Raises:
            NotFound: it has tensors that the protocol does not know.
        """
        found = self._signatures.get(model)
        if found is None:
            found = self._signatures[model] = _signature(model)
        return found


_PREFIX: Final = "/v2/models/"
_SUFFIX: Final = "/infer"


class DirectInference:
    """The route of inference for `shared.http.direct`.

    Args:
        inference: answers.
    """

    path = "/v2/models/{name}/infer"

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def find(self, scope: Scope) -> Answer | None:
        """What answers a request for inference."""
        path: str = scope["path"]
        if not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
            return None
        match path[len(_PREFIX) : -len(_SUFFIX)].split("/"):
            case [name] if name:
                answer = partial(self._answer, name, None)
            case [name, "versions", version] if name and version:
                answer = partial(self._answer, name, version)
            case _:
                return None
        scope["route"] = self
        return answer

    async def _answer(self, name: str, version: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if body is None:
            return
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType("Services take no compressed requests: the gateway inflates them.")
        batchers: Batchers = scope["app"].state.service.batchers
        length = headers.get(HEADER_LENGTH)
        response = await self._inference.run(batchers, body, name=name, version=version, header_length=length)
        await response.send(send)


def _signature(model: OnnxModel) -> Signature:
    try:
        return signature_of(model.card)
    except KeyError as error:
        detail = f"{model.card.name} has tensors of {error.args[0]}, which this protocol does not know."
        raise NotFound(detail) from None


def _header_bytes(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 12:
        raise BadRequest("Inference-Header-Content-Length must be the number of bytes of JSON in front of the tensors.")
    return int(value)


async def _compute(
    model: OnnxModel, batchers: Batchers, signature: Signature, asked: InferenceRequest
) -> dict[str, np.ndarray[Any, Any]]:
    try:
        answer = await batchers.of(model).infer(
            asked.inputs,
            stackable=signature.stackable and all(array.size for array in asked.inputs.values()),
            deadline_s=asked.timeout_s or math.inf,
            cost=sum(array.size for array in asked.inputs.values()),
        )
    except computation_failures() as failure:
        detail = f"The model cannot compute these tensors: {reason_of(failure)}"
        raise field_problem("/body/inputs", detail) from None
    return dict(zip(signature.outputs, answer, strict=True))


def _answer(
    model: OnnxModel, signature: Signature, asked: InferenceRequest, outputs: dict[str, np.ndarray[Any, Any]]
) -> DirectResponse:
    body, header_bytes = write_answer(
        signature,
        {name: outputs[name] for name in asked.outputs},
        raw=asked.outputs,
        request_id=asked.id,
        digest=model.card.weights.sha256,
    )
    if header_bytes is None:
        return DirectResponse(200, body, [_JSON])
    return DirectResponse(200, body, [_OCTETS, (HEADER_LENGTH, str(header_bytes).encode())])
