"""Ray Serve: one replica with `serve.batch`, raw bodies."""

from __future__ import annotations

import signal
import threading
from typing import Any

import numpy as np
import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request
from starlette.responses import Response

from tests.benchmarks.serving.servers.common import BATCH, Array, Model, ports


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Classifier:
    """One model."""

    def __init__(self) -> None:
        self._model = Model()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.0005)
    async def run(self, rows: list[Array]) -> list[Array]:
        """One run."""
        return list(self._model.run(np.stack(rows)))

    async def __call__(self, request: Request) -> Response:
        """Raw float32 for a raw body or an image."""
        answer: Any = await self.run(self._model.read(await request.body()))
        return Response(answer.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=ports()[0]), logging_config={"enable_access_log": False}
    )
    application: Any = Classifier
    serve.run(application.bind(), route_prefix="/")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    serve.shutdown()
    ray.shutdown()
