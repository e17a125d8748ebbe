"""Classifiers that can only be asked: over HTTP by the Open Inference Protocol, with a counted budget.

Facet's gateway, Triton and KServe answer it; tensors go as bytes (Triton's binary tensor extension).
"""

from __future__ import annotations

import json
from typing import Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from shared.fleet.budget import QueryBudget

_HEADER_LENGTH = "Inference-Header-Content-Length"
_TIMEOUT_S = 60.0
_ROWS = 256
"""Pictures of one request."""


class BlackBox(Protocol):
    """Answers pictures (count, 3, height, width), float32 in [0, 1], with logits (count, classes)."""

    def __call__(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, float32 (count, classes)."""


class ServedClassifier:
    """A model behind `/v2/models/<name>/infer`.

    Args:
        http: client with the server's address, and the key if one is needed.
        model: its name.
        budget: of queries; one picture is one query. A query counts before it is sent, whatever becomes of it.
        tensors: names of its input and its output.
    """

    def __init__(
        self, http: httpx.Client, model: str, budget: QueryBudget, *, tensors: tuple[str, str] = ("pictures", "logits")
    ) -> None:
        self._http, self._model, self._budget = http, model, budget
        self._input, self._output = tensors

    def __call__(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (count, classes) of pictures (count, 3, height, width), float32 in [0, 1].

        Raises:
            BudgetExhausted: what does not fit was not sent.
            httpx.HTTPError: no answer, or a refusal.
        """
        parts = [self._ask(pictures[start : start + _ROWS]) for start in range(0, len(pictures), _ROWS)]
        return np.concatenate(parts)

    def _ask(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        self._budget.spend(len(pictures))
        content = np.ascontiguousarray(pictures, np.float32).tobytes()
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": self._input,
                        "datatype": "FP32",
                        "shape": list(pictures.shape),
                        "parameters": {"binary_data_size": len(content)},
                    }
                ],
                "outputs": [{"name": self._output, "parameters": {"binary_data": True}}],
            }
        ).encode()
        headers = {_HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        path = f"/v2/models/{self._model}/infer"
        answer = self._http.post(path, content=head + content, headers=headers, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> NDArray[np.float32]:
        length = int(answer.headers[_HEADER_LENGTH])
        (output,) = json.loads(answer.content[:length])["outputs"]
        return np.frombuffer(answer.content[length:], np.float32).reshape(output["shape"])
