"""Detectors that somebody runs elsewhere, as an operator registers them."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from services.security.camouflage.detection.vehicles import VEHICLES
from services.security.endpoints.registration import Endpoint, is_pointer

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
