"""Asks a registered detector what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Unpack

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.camouflage.detection.detectors import LEAST_SCORE, Found, Picture, merge_classes
from services.security.camouflage.detection.endpoints import DetectorEndpoint
from services.security.endpoints.asking import AskingOptions, EndpointClient
from services.security.endpoints.registration import follow
from shared.fleet.budget import QueryBudget
from shared.imaging.pictures import encode_png

MOST_OBJECTS: Final = 10_000
"""That are read of one answer."""


def read_objects(endpoint: DetectorEndpoint, content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes (n, 4) as they are answered and scores (n,) of the vehicles in an answer.

    Raises:
        ValueError: the answer is no JSON, or has no objects where they should be.
    """
    boxes, scores, labels = _lists(endpoint, orjson.loads(content))
    if not len(boxes) == len(scores) == len(labels) <= MOST_OBJECTS:
        raise ValueError(
            f"{len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels; as many of each, and at most "
            f"{MOST_OBJECTS}, are read"
        )
    wanted = set(endpoint.vehicles)
    chosen = [place for place, label in enumerate(labels) if endpoint.labels is None or _same(label, wanted)]
    try:
        edges = np.array([boxes[place] for place in chosen], np.float64).reshape(len(chosen), 4)
        sure = np.array([scores[place] for place in chosen], np.float64).reshape(len(chosen))
    except (TypeError, ValueError):
        raise ValueError("a box is no list of four numbers, or a score no number") from None
    if not np.isfinite(edges).all() or not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("a box is not finite, or a score not between 0 and 1")
    return edges, sure


def _lists(endpoint: DetectorEndpoint, document: Any) -> tuple[list[Any], list[Any], list[Any]]:
    if endpoint.objects is None:
        boxes, scores = (_list(follow(document, pointer), pointer) for pointer in (endpoint.boxes, endpoint.scores))
        return (
            boxes,
            scores,
            boxes if endpoint.labels is None else _list(follow(document, endpoint.labels), endpoint.labels),
        )
    objects = _list(follow(document, endpoint.objects), endpoint.objects)
    boxes, scores = ([follow(one, pointer) for one in objects] for pointer in (endpoint.boxes, endpoint.scores))
    return boxes, scores, boxes if endpoint.labels is None else [follow(one, endpoint.labels) for one in objects]


def to_found(
    endpoint: DetectorEndpoint, edges: NDArray[np.float64], scores: NDArray[np.float64], *, height: int, width: int
) -> Found:
    """Vehicles in pixels of a picture, within it."""
    if endpoint.box_format == "centre":
        edges = np.concatenate((edges[:, :2] - edges[:, 2:] / 2, edges[:, 2:]), axis=1)
    if endpoint.box_format != "edges":
        edges = np.concatenate((edges[:, :2], edges[:, :2] + edges[:, 2:]), axis=1)
    sides = np.array([width, height] * 2, np.float64)
    edges = np.clip(edges * sides if endpoint.relative else edges, 0, sides)
    kept = scores >= LEAST_SCORE
    return merge_classes(edges[kept], scores[kept], iou_threshold=endpoint.iou_threshold)


class EndpointDetector(EndpointClient[tuple[NDArray[np.float64], NDArray[np.float64]]]):
    """A registered detector; a context manager, for one thread without an event loop of its own.

    Each picture is a query, and so is each further try.

    Args:
        endpoint: as registered.
        budget: of queries.
        options: as of `AskingOptions`.

    Attributes:
        name: as registered.

    Raises:
        ValueError: the URL is not allowed, or the secret is not in the environment.
    """

    def __init__(self, endpoint: DetectorEndpoint, budget: QueryBudget, **options: Unpack[AskingOptions]) -> None:
        self.name, self._detector = endpoint.name, endpoint
        super().__init__(endpoint, partial(read_objects, endpoint), budget, what=("detector", "objects"), **options)

    def find(self, pictures: Sequence[Picture]) -> list[Found]:
        """As `VehicleDetector.find`.

        Raises:
            BudgetExhausted: it may not be asked any further; then none of the pictures was sent.
            Problem: the endpoint may not be asked, does not answer, or answers something else.
        """
        self._budget.spend(len(pictures))
        answers = self.ask([encode_png(picture) for picture in pictures])
        return [
            to_found(self._detector, *answer, height=picture.shape[0], width=picture.shape[1])
            for picture, answer in zip(pictures, answers, strict=True)
        ]


def _list(found: Any, pointer: str) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"there is no list at {pointer!r}")
    return found


def _same(label: Any, wanted: set[str | int]) -> bool:
    """Whether a label is one of those wanted; true is no 1."""
    return isinstance(label, str | int) and not isinstance(label, bool) and label in wanted
