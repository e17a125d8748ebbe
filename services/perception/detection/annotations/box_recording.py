"""The boxes of one picture as they are read: checked, cut off at its edges, and what was wrong with them written down.

Every format has boxes that no detector can be measured with, and sets of thousands of pictures should not fail because
of one. So such a box is left out, counted, and shown with its file and line; a structure that makes no sense is a
problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from services.perception.detection.annotations.model import (
    AnnotatedPicture,
    BoxFault,
    BoxFaults,
    ImageId,
    too_large,
)

MOST_BOXES: Final = 1000
"""Of one picture."""

MOST_BOXES_OF_A_SET: Final = 500_000
"""Of all pictures: about 400 bytes of memory each while they are read."""

MOST_SHOWN: Final = 100
"""Faults that are described; all are counted."""

_TOLERANCE: Final = 0.05
"""Pixels beyond an edge that are cut off without a word: what is left of a number with six decimals."""

Edges = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels, half-open."""


@dataclass(slots=True)
class FaultLog:
    """Counts the boxes of a set while it is read, and gathers their faults."""

    boxes: int = 0
    clipped: int = 0
    refused: int = 0
    shown: list[BoxFault] = field(default_factory=list)

    def clip(self, place: str, detail: str) -> None:
        """Count a box that was cut off."""
        self.clipped += 1
        self._show(BoxFault(place, detail, "clipped"))

    def refuse(self, place: str, detail: str) -> None:
        """Count a box that was left out."""
        self.refused += 1
        self._show(BoxFault(place, detail, "refused"))

    def finish(self) -> BoxFaults:
        """All that was counted."""
        return BoxFaults(self.clipped, self.refused, tuple(self.shown))

    def _show(self, fault: BoxFault) -> None:
        if len(self.shown) < MOST_SHOWN:
            self.shown.append(fault)


@dataclass(slots=True)
class BoxRecorder:
    """Gathers the boxes of one picture.

    Attributes:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        log: of the set.
        pointer: the field to blame.
    """

    width: int
    height: int
    log: FaultLog
    pointer: str
    _edges: list[Edges] = field(default_factory=list)
    _labels: list[int] = field(default_factory=list)
    _areas: list[float] = field(default_factory=list)
    _crowd: list[bool] = field(default_factory=list)
    _difficult: list[bool] = field(default_factory=list)
    _seen: int = 0

    def add(
        self,
        edges: Edges,
        label: int,
        *,
        place: str,
        area: float | None = None,
        crowd: bool = False,
        difficult: bool = False,
    ) -> None:
        """Take a box, or write down why not.

        Args:
            edges: as the file says, any floats.
            label: number of its class.
            place: file and line.
            area: of the object, in square pixels; that of the box if None or no positive number.
            crowd: as AnnotatedPicture.
            difficult: as AnnotatedPicture.

        Raises:
            ContentTooLarge: the picture has more than 1000 boxes, or the set more than 500,000.
        """
        self._seen += 1
        self.log.boxes += 1
        for count, most, owner in (
            (self._seen, MOST_BOXES, "picture"),
            (self.log.boxes, MOST_BOXES_OF_A_SET, "set"),
        ):
            if count > most:
                raise too_large(self.pointer, f"{place} has one box more than the {most} that a {owner} may have.")
        clipped = self._clip(edges, place)
        if clipped is None:
            return
        own = (clipped[2] - clipped[0]) * (clipped[3] - clipped[1])
        self._edges.append(clipped)
        self._labels.append(label)
        self._areas.append(area if area is not None and 0 < area < math.inf else own)
        self._crowd.append(crowd)
        self._difficult.append(difficult)

    def finish(self, name: str, image_id: ImageId) -> AnnotatedPicture:
        """The picture with the boxes that were taken."""
        return AnnotatedPicture(
            name=name,
            image_id=image_id,
            width=self.width,
            height=self.height,
            boxes=np.array(self._edges, np.float64).reshape(-1, 4),
            labels=np.array(self._labels, np.int64),
            areas=np.array(self._areas, np.float64),
            crowd=np.array(self._crowd, np.bool_),
            difficult=np.array(self._difficult, np.bool_),
        )

    def _clip(self, edges: Edges, place: str) -> Edges | None:
        """The part of a box within the picture; None, and a fault, where there is none."""
        left, top, right, bottom = edges
        if not all(map(math.isfinite, edges)):
            self.log.refuse(place, "A coordinate is not finite.")
            return None
        if right <= left or bottom <= top:
            self.log.refuse(place, f"The box is {right - left:g} pixels wide and {bottom - top:g} high.")
            return None
        inside = (max(left, 0.0), max(top, 0.0), min(right, float(self.width)), min(bottom, float(self.height)))
        if inside[2] <= inside[0] or inside[3] <= inside[1]:
            self.log.refuse(place, f"{_stated(edges)} lies outside of the picture of {self.width} x {self.height}.")
            return None
        if max(abs(one - other) for one, other in zip(edges, inside, strict=True)) > _TOLERANCE:
            self.log.clip(place, f"{_stated(edges)} reaches beyond the picture of {self.width} x {self.height}.")
        return inside


def _stated(edges: Edges) -> str:
    return "The box " + ", ".join(f"{edge:g}" for edge in edges) + " (left, top, right, bottom)"
