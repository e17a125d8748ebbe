"""LitServe: dynamic batching in a worker process, raw bytes in and out.

Its own reading of a request takes JSON and forms only, but what `decode_request` is annotated with becomes a parameter
of a FastAPI route: one that depends on the body gives the worker its bytes, and an answer of bytes is not looked
through for what JSON cannot say. Both are quicker than a form's file and JSON. No `from __future__ import
annotations`: LitServe reads the annotations as they are.
"""

from collections.abc import Sequence
from typing import Annotated

import litserve
import numpy as np
from fastapi import Depends, Request, Response

from tests.benchmarks.serving.servers.common import BATCH, Array, Model, ports


async def read_body(request: Request) -> bytes:
    """All of it."""
    return await request.body()


class Api(litserve.LitAPI):
    """One model."""

    def setup(self, device: object) -> None:
        """Open the session in the worker."""
        self.model = Model()

    def decode_request(self, request: Annotated[bytes, Depends(read_body)]) -> Array:
        """A row of a body."""
        return self.model.read(request)

    def batch(self, inputs: Sequence[Array]) -> Array:
        """(rows, ...)."""
        return np.stack(inputs)

    def predict(self, x: Array) -> Array:
        """One run."""
        return self.model.run(x)

    def unbatch(self, output: Array) -> list[Array]:
        """One answer per request."""
        return list(output)

    def encode_response(self, output: Array) -> Response:
        """Raw float32."""
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=BATCH, batch_timeout=0.001), accelerator="cpu", workers_per_device=1, fast_queue=True
    )
    server.run(
        host="127.0.0.1", port=ports()[0], num_api_servers=1, generate_client_file=False, log_level="error",
        access_log=False,
    )  # fmt: skip
