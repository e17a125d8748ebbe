"""From pictures of any size to calibrated class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from services.perception.classification.classifiers import Classifier
from shared.imaging.colour import Pictures
from shared.imaging.preprocessing import Preprocessing
from shared.imaging.sizes import stated_pixels
from shared.runtime.batching.batcher import Batcher

SIDE: Final = 32
"""Height and width that the classifier of signs sees, in pixels."""

_SMALL_BYTES: Final = 32 * 1024
_SMALL_PIXELS: Final = 96 * 96
"""What is no larger is decoded in less time than it takes to wake another thread for it (measured: 0.1 ms)."""


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
    """A posted picture of a cropped sign, of any size, scaled whole: float32 in [0, 1], (3, 32, 32)."""
    return Preprocessing().read(data, height=SIDE, width=SIDE, pixel_limit=pixel_limit, pointer=pointer)


def decode_pictures(files: Sequence[bytes], classifier: Classifier, *, pixel_limit: int) -> NDArray[np.float32]:
    """Posted pictures as a classifier wants them, float32 (count, 3, height, width)."""
    size = {"height": classifier.height, "width": classifier.width}
    rows = [
        classifier.normalise(
            classifier.preprocessing.read(data, **size, pixel_limit=pixel_limit, pointer=f"/body/file/{index}")
        )
        for index, data in enumerate(files)
    ]
    return rows[0][None] if len(rows) == 1 else np.stack(rows)


def is_small(files: Sequence[bytes]) -> bool:
    """Whether it is quicker to decode these at once than to hand them to another thread."""
    return len(files) == 1 and len(files[0]) <= _SMALL_BYTES and 0 < stated_pixels(files[0]) <= _SMALL_PIXELS


async def classify(pictures: NDArray[np.float32], classifier: Classifier, batcher: Batcher) -> Scores:
    """Run the network, together with whatever else is asked of it at the moment.

    Args:
        pictures: as the classifier wants them, (count, 3, height, width).
        classifier: its temperature was fitted on validation pictures.
        batcher: of the classifier.
    """
    rows = classifier.model.card.runtime.batch_rows or len(pictures)
    parts = [
        (await batcher.infer({classifier.input: pictures[start : start + rows]}))[0]
        for start in range(0, len(pictures), rows)
    ]
    answered = cast("NDArray[np.float32]", parts[0] if len(parts) == 1 else np.concatenate(parts))
    if classifier.answers_probabilities:
        with np.errstate(divide="ignore"):
            return Scores(np.maximum(np.log(answered), np.finfo(np.float32).min), answered)
    return Scores(answered, softmax(answered / np.float32(classifier.temperature)))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis, float32."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares
