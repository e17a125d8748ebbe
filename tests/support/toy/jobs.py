"""The toy's job for the ONNX worker."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from shared.http.files import extension_of
from shared.jobs.context import JobContext
from shared.runtime.models.registry import newest_folder
from shared.runtime.models.sessions import OnnxModel
from tests.support.toy.capability import CAPABILITY


def smooth(context: JobContext) -> dict[str, Any]:
    """Smooth an image step by step, from where the last attempt was."""
    assert CAPABILITY.models is not None
    model = OnnxModel.open(newest_folder(CAPABILITY.models, "toy-smoother"), threads=1)
    begun = context.restore() or {"pixels": context.arguments["pixels"], "attempts": []}
    image = np.array(begun["pixels"], np.float32)[None, None]
    attempts: list[int] = begun["attempts"]
    for step in range(len(attempts), context.arguments["steps"]):
        context.progress(step, context.arguments["steps"])
        (image,) = model.run({"image": image, "noise_level": np.zeros(1, np.float32)})
        attempts.append(context.attempt)
        time.sleep(context.arguments["step_s"])
        context.checkpoint({"pixels": image[0, 0].tolist(), "attempts": attempts})
    return {"pixels": image[0, 0].tolist(), "attempts": attempts, "extension": extension_of("application/x-toy")}
