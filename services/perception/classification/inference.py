"""From pictures of any size to calibrated class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from shared.imaging.colour import Pictures, read_colour
from shared.runtime.batching import Batcher
from shared.runtime.cards import UploadedCard

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


async def classify(pictures: Sequence[Pictures], card: UploadedCard, batcher: Batcher) -> Scores:
    """Run the network, together with whatever else is asked of it at the moment.

    Args:
        pictures: each float32 in [0, 1], (3, 32, 32).
        card: of the classifier; it holds the temperature that was fitted on validation pictures.
        batcher: of the classifier.
    """
    logits = cast("NDArray[np.float32]", (await batcher.infer({"pictures": np.stack(pictures)}))[0])
    temperature = float(cast("float", card.parameters.get("temperature", 1.0)))
    return Scores(logits, _softmax(logits / np.float32(temperature)))


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row, (count, classes). SciPy's would cost this process 18 MB."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return chances
