"""Detectors that somebody runs elsewhere, as an operator registers them, and as they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, model_validator

from services.security.camouflage.detectors import LEAST_SCORE, Found, Picture, merge_classes
from services.security.camouflage.vehicles import VEHICLES
from services.security.endpoints.asking import EndpointClient
from services.security.endpoints.registration import Endpoint, follow, is_pointer
from shared.fleet.budget import QueryBudget
from shared.fleet.questions import RetryPolicy
from shared.imaging.pictures import encode_png
from shared.webhooks.addresses import IPNetwork
from shared.webhooks.ssrf_guard import Resolve

MOST_OBJECTS: Final = 10_000
"""That are read of one answer."""

_POINTERS: Final = ("objects", "boxes", "scores", "labels")


class DetectorEndpoint(Endpoint):
    """A detector that an operator has registered.

    Its answer is a list of objects, each with a box, a score and a label; or three lists, where `objects` is left out.
    """

    objects: str | None = Field(
        default=None,
        description="JSON pointer (RFC 6901) to the list of objects in the answer; without one, `boxes`, `scores` and "
        "`labels` point to a list each",
        examples=["/predictions"],
    )
    boxes: str = Field(description="JSON pointer to the boxes, four numbers each; in each object if there are objects")
    scores: str = Field(description="Likewise to the scores, from 0 to 1")
    labels: str | None = Field(
        default=None, description="Likewise to the classes, names or numbers; without it everything found is a vehicle"
    )
    vehicles: tuple[str | int, ...] = Field(
        default=tuple(sorted(VEHICLES)), description="Classes that are vehicles", min_length=1, max_length=100
    )
    box_format: Literal["edges", "size", "centre"] = Field(
        default="edges",
        description="Left, top, right and bottom edge; or left and top edge, width and height; or centre and those",
    )
    relative: bool = Field(default=False, description="Whether boxes are shares of the picture's sides, not pixels")
    iou_threshold: float = Field(
        default=0.5, ge=0, le=1, description="Overlap above which the less sure of two vehicles is the same one"
    )

    @model_validator(mode="after")
    def _has_pointers(self) -> Self:
        for name in _POINTERS:
            pointer = getattr(self, name)
            if pointer is not None and not is_pointer(pointer):
                raise ValueError(f"{name} is no JSON pointer: it begins with / or is empty, and ~ is written ~0")
        return self

    def read_objects(self, content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boxes (n, 4) as they are answered and scores (n,) of the vehicles in an answer.

        Raises:
            ValueError: the answer is no JSON, or has no objects where they should be.
        """
        boxes, scores, labels = self._lists(orjson.loads(content))
        if not len(boxes) == len(scores) == len(labels) <= MOST_OBJECTS:
            raise ValueError(
                f"{len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels; as many of each, and at most "
                f"{MOST_OBJECTS}, are read"
            )
        wanted = set(self.vehicles)
        chosen = [place for place, label in enumerate(labels) if self.labels is None or _same(label, wanted)]
        try:
            edges = np.array([boxes[place] for place in chosen], np.float64).reshape(len(chosen), 4)
            sure = np.array([scores[place] for place in chosen], np.float64).reshape(len(chosen))
        except (TypeError, ValueError):
            raise ValueError("a box is no list of four numbers, or a score no number") from None
        if not np.isfinite(edges).all() or not ((sure >= 0) & (sure <= 1)).all():
            raise ValueError("a box is not finite, or a score not between 0 and 1")
        return edges, sure

    def _lists(self, document: Any) -> tuple[list[Any], list[Any], list[Any]]:
        if self.objects is None:
            boxes, scores = (_list(follow(document, pointer), pointer) for pointer in (self.boxes, self.scores))
            return boxes, scores, boxes if self.labels is None else _list(follow(document, self.labels), self.labels)
        objects = _list(follow(document, self.objects), self.objects)
        boxes, scores = ([follow(one, pointer) for one in objects] for pointer in (self.boxes, self.scores))
        return boxes, scores, boxes if self.labels is None else [follow(one, self.labels) for one in objects]

    def to_found(self, edges: NDArray[np.float64], scores: NDArray[np.float64], *, height: int, width: int) -> Found:
        """Vehicles in pixels of a picture, within it."""
        if self.box_format == "centre":
            edges = np.concatenate((edges[:, :2] - edges[:, 2:] / 2, edges[:, 2:]), axis=1)
        if self.box_format != "edges":
            edges = np.concatenate((edges[:, :2], edges[:, :2] + edges[:, 2:]), axis=1)
        sides = np.array([width, height] * 2, np.float64)
        edges = np.clip(edges * sides if self.relative else edges, 0, sides)
        kept = scores >= LEAST_SCORE
        return merge_classes(edges[kept], scores[kept], iou_threshold=self.iou_threshold)


class EndpointDetector:
    """A registered detector; a context manager, for one thread without an event loop of its own.

    Each picture is a query, and so is each further try.

    Args:
        endpoint: as registered.
        budget: of queries.
        networks: what the operator allows besides public addresses; there also plain http.
        policy: pauses between tries.
        resolve: names to addresses; by default as the system does.
        watch: called now and then while answers are waited for; what it raises ends the waiting.

    Attributes:
        name: as registered.

    Raises:
        ValueError: the URL is not allowed, or the secret is not in the environment.
    """

    def __init__(
        self,
        endpoint: DetectorEndpoint,
        budget: QueryBudget,
        *,
        networks: tuple[IPNetwork, ...] = (),
        policy: RetryPolicy | None = None,
        resolve: Resolve | None = None,
        watch: Callable[[], object] | None = None,
    ) -> None:
        self.name = endpoint.name
        self._endpoint, self._budget = endpoint, budget
        self._client = EndpointClient(
            endpoint,
            endpoint.read_objects,
            budget,
            what=("detector", "objects"),
            networks=networks,
            policy=policy,
            resolve=resolve,
            watch=watch,
        )

    def find(self, pictures: Sequence[Picture]) -> list[Found]:
        """As `VehicleDetector.find`.

        Raises:
            BudgetExhausted: it may not be asked any further; then none of the pictures was sent.
            Problem: the endpoint may not be asked, does not answer, or answers something else.
        """
        self._budget.spend(len(pictures))
        answers = self._client.ask([encode_png(picture) for picture in pictures])
        return [
            self._endpoint.to_found(*answer, height=picture.shape[0], width=picture.shape[1])
            for picture, answer in zip(pictures, answers, strict=True)
        ]

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _list(found: Any, pointer: str) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"there is no list at {pointer!r}")
    return found


def _same(label: Any, wanted: set[str | int]) -> bool:
    """Whether a label is one of those wanted; true is no 1."""
    return isinstance(label, str | int) and not isinstance(label, bool) and label in wanted
