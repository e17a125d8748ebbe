"""BentoML: one process without batching.

Its adaptive batching takes JSON, or a second service behind the first, whose answers fail under load and which is
slower than this. A body annotated as bytes comes as it is; one annotated as a file is written to disk first, and takes
longer; so does a method that is not a coroutine, which runs in a thread. No `from __future__ import annotations`: it
reads the annotations as they are.
"""

import bentoml
import numpy as np

from tests.benchmarks.serving.servers.common import Model


@bentoml.service(
    workers=1,
    traffic={"timeout": 60, "max_concurrency": 256},
    logging={"access": {"enabled": False}},
)
class Classifier:
    """One model."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api
    async def classify(self, body: bytes, /) -> np.ndarray:
        """Raw float32 or an image."""
        return self.model.run(self.model.read(body)[None])
