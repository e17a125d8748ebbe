"""From pictures of any size to calibrated class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from services.perception.classification.classifiers import Classifier
from shared.fleet.classifiers import Scores
from shared.imaging.colour import Pictures
from shared.imaging.preprocessing import Preprocessing
from shared.imaging.sizes import stated_pixels
from shared.runtime.batching.batcher import Batcher

SIDE: Final = 32
"""Height and width that the classifier of signs sees, in pixels."""

_SMALL_BYTES: Final = 32 * 1024
_SMALL_PIXELS: Final = 96 * 96
"""What is no larger is decoded in less time than it takes to wake another thread for it (measured: 0.1 ms)."""


def read_picture(data: bytes, *, pixel_limit: int, pointer: str) -> Pictures:
    """A posted picture of a cropped sign, of any size, scaled whole: float32 in [0, 1], (3, 32, 32)."""
    return Preprocessing().read(data, height=SIDE, width=SIDE, pixel_limit=pixel_limit, pointer=pointer)


def decode_pictures(files: Sequence[bytes], classifier: Classifier, *, pixel_limit: int) -> NDArray[np.float32]:
    """Posted pictures as a classifier wants them, float32 (count, 3, height, width)."""
    wanted = classifier.description
    rows = [
        wanted.normalise(wanted.read(data, pixel_limit=pixel_limit, pointer=f"/body/file/{index}"))
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
        (await batcher.infer({classifier.description.input: pictures[start : start + rows]}))[0]
        for start in range(0, len(pictures), rows)
    ]
    answered = cast("NDArray[np.float32]", parts[0] if len(parts) == 1 else np.concatenate(parts))
    return classifier.description.scores(answered)
