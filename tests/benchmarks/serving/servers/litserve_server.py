"""LitServe: dynamic batching in a worker process; takes JSON and forms only, so the tensor comes as a form's file.

No `from __future__ import annotations`: LitServe reads the annotation of `decode_request` as it is.
"""

from collections.abc import Sequence
from typing import Any

import litserve
import numpy as np
from fastapi import Request

from tests.benchmarks.serving.servers.common import BATCH, Array, Model, ports

FIELD = "request"


class Api(litserve.LitAPI):
    """One model."""

    def setup(self, device: object) -> None:
        """Open the session in the worker."""
        self.model = Model()

    def decode_request(self, request: Request) -> Array:
        """The file of the form."""
        form: Any = request
        return self.model.read(form[FIELD].file.read())

    def batch(self, inputs: Sequence[Array]) -> Array:
        """(rows, ...)."""
        return np.stack(inputs)

    def predict(self, x: Array) -> Array:
        """One run."""
        return self.model.run(x)

    def unbatch(self, output: Array) -> list[Array]:
        """One answer per request."""
        return list(output)

    def encode_response(self, output: Array) -> dict[str, list[float]]:
        """JSON."""
        return {"y": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=BATCH, batch_timeout=0.001), accelerator="cpu", workers_per_device=1, fast_queue=True
    )
    server.run(
        host="127.0.0.1", port=ports()[0], num_api_servers=1, generate_client_file=False, log_level="error",
        access_log=False,
    )  # fmt: skip
