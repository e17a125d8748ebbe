"""BentoML: one process without batching.

Its adaptive batching takes JSON, or a second service behind the first, whose answers fail under load and which is
slower than this. No `from __future__ import annotations`: it reads the annotations as they are.
"""

from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType

from tests.benchmarks.serving.servers.common import Model


@bentoml.service(
    workers=1,
    threads=2,
    traffic={"timeout": 60, "max_concurrency": 256},
    logging={"access": {"enabled": False}},
)
class Classifier:
    """One model."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api
    def tensor(self, file: Annotated[Path, ContentType("application/octet-stream")], /) -> np.ndarray:
        """Raw float32."""
        return self.model.run(self.model.read(file.read_bytes())[None])

    @bentoml.api
    def png(self, file: Annotated[Path, ContentType("image/png")], /) -> np.ndarray:
        """A picture."""
        return self.model.run(self.model.read(file.read_bytes())[None])
