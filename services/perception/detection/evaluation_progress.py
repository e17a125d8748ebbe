"""What an evaluation has found so far, as bytes that the next attempt goes on from."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from shared.detectors.detections import Detections

_NONE: Final = Detections.none()
"""What says the dtypes where nothing was found."""


@dataclass(slots=True)
class FoundSoFar:
    """Detections of the first pictures of a set, in the set's order.

    Attributes:
        pictures: of each picture that is done.
    """

    pictures: list[Detections] = field(default_factory=list)

    def as_bytes(self) -> bytes:
        """All of it, as NPZ: the columns of all pictures one after another, and how many rows each picture has."""
        content = io.BytesIO()
        np.savez(
            content,
            counts=np.array([len(one) for one in self.pictures], np.int64),
            boxes=np.concatenate([_NONE.boxes, *(one.boxes for one in self.pictures)]),
            scores=np.concatenate([_NONE.scores, *(one.scores for one in self.pictures)]),
            labels=np.concatenate([_NONE.labels, *(one.labels for one in self.pictures)]),
        )
        return content.getvalue()

    @classmethod
    def of_bytes(cls, content: bytes | None) -> FoundSoFar:
        """What `as_bytes` wrote; nothing if None."""
        if content is None:
            return cls()
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            ends = np.concatenate([[0], np.cumsum(saved["counts"])]).tolist()
            boxes, scores, labels = saved["boxes"], saved["scores"], saved["labels"]
        return cls(
            [Detections(boxes[start:end], scores[start:end], labels[start:end]) for start, end in pairwise(ends)]
        )
