"""Triton through pytriton: its HTTP front and dynamic batching, onnxruntime in its Python backend.

The wheel has no native ONNX backend. An image comes as one BYTES element and is decoded beside the session.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from tests.benchmarks.serving.servers.common import BATCH, Model, ports, takes_images

model = Model()


@batch
def infer(**inputs: Any) -> dict[str, Any]:
    """One run; `x` is (rows, ...) float32, or (rows, 1) bytes of image files."""
    rows = inputs["x"]
    if takes_images():
        rows = np.stack([model.read(row[0]) for row in rows])
    return {"y": model.run(rows)}


def main() -> None:
    """Serve until told to stop."""
    http, grpc, metrics = ports()[:3]
    row = (
        Tensor(name="x", dtype=bytes, shape=(1,))
        if takes_images()
        else Tensor(name="x", dtype=np.float32, shape=model.shape)
    )
    with Triton(
        config=TritonConfig(http_address="127.0.0.1", http_port=http, grpc_port=grpc, metrics_port=metrics)
    ) as it:
        it.bind(
            model_name="model",
            infer_func=infer,
            inputs=[row],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(model.classes,))],
            config=ModelConfig(max_batch_size=BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=500)),
        )
        it.serve()


if __name__ == "__main__":
    main()
