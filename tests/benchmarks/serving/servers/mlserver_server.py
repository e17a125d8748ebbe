"""MLServer: a runtime of its own for onnxruntime, adaptive batching, one process.

Its REST has no binary tensors, so a row comes as one BYTES element in base64.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.cli import main
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from tests.benchmarks.serving.servers.common import BATCH, Model, ports

IMPLEMENTATION = "tests.benchmarks.serving.servers.mlserver_server.OnnxRuntime"


class OnnxRuntime(MLModel):
    """One model."""

    async def load(self) -> bool:
        """Open the session."""
        self._model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One run for a batch that MLServer put together."""
        rows = np.stack([self._model.read(row) for row in Base64Codec.decode_input(payload.inputs[0])])
        answer = NumpyCodec.encode_output("y", self._model.run(rows))
        return InferenceResponse(model_name=self.name, outputs=[answer])


def write_settings(folder: Path) -> None:
    """What `mlserver start` reads."""
    http, grpc, metrics = ports()[:3]
    server = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    server |= {"parallel_workers": 0, "debug": False, "use_structured_logging": False}
    model = {"name": "model", "implementation": IMPLEMENTATION, "max_batch_size": BATCH, "max_batch_time": 0.001}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        write_settings(Path(name))
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = ["mlserver", "start", name]
        main()
