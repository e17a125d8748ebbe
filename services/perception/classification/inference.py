"""From pictures of any size to calibrated class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from shared.imaging.colour import Pictures, read_colour
from shared.runtime.sessions import OnnxModel
from shared.telemetry.timing import timed

SIDE = 32
"""Height and width that the network sees, in pixels."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the network says of a batch.

    Attributes:
        logits: float32, (count, classes).
        probabilities: softmax of the logits over the temperature, float32, (count, classes).
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]


def read_picture(data: bytes, *, pixel_limit: int, pointer: str) -> Pictures:
    """A posted picture of a cropped sign, of any size, as `read_colour` scales it: float32 in [0, 1], (3, 32, 32)."""
    return read_colour(data, height=SIDE, width=SIDE, pixel_limit=pixel_limit, pointer=pointer)


def classify(pictures: Sequence[Pictures], model: OnnxModel) -> Scores:
    """Run the network on a batch.

    Args:
        pictures: each float32 in [0, 1], (3, 32, 32).
        model: a released classifier; its card holds the temperature that was fitted on validation pictures.
    """
    with timed("infer"):
        logits = cast("NDArray[np.float32]", model.run({"pictures": np.stack(pictures)})[0])
    temperature = float(cast("float", model.card.parameters.get("temperature", 1.0)))
    return Scores(logits, softmax(logits / np.float32(temperature), axis=1).astype(np.float32))
