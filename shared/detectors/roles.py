"""What the card of a detector says of it: `parameters.detection`.

A detector has one input `image`, float32 (1, 3, height, width) in [0, 1], RGB, sides multiples of 32. Its outputs are
`boxes`, float32 (regions, 4), or (regions, classes, 4) where each class has boxes of its own: left, top, right and
bottom edge in pixels of the input; and `scores`, float32 (regions, classes) in [0, 1]. Thresholds and suppression are
no part of the graph, since callers choose them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.runtime.cards import TensorDescription

PARAMETER: Final = "detection"

IMAGE: Final = "image"
BOXES: Final = "boxes"
SCORES: Final = "scores"

MOST_CLASSES: Final = 10_000
LONGEST_CLASS_NAME: Final = 200
"""In characters."""

LARGEST_SIDE: Final = 2048
"""Of what a detector sees, in pixels: memory and time grow with the area."""

MOST_DETECTIONS: Final = 300
"""Of one picture in one answer."""

_Byte = Annotated[int, Field(ge=0, le=255)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class DetectorRole(BaseModel):
    """How a detector wants pictures, what it finds, and which of it is answered unless a request says otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    classes: list[Annotated[str, Field(min_length=1, max_length=LONGEST_CLASS_NAME)]] = Field(
        description="Names, in the order of the scores", min_length=1, max_length=MOST_CLASSES
    )
    category_ids: list[int] | None = Field(
        default=None, description="What COCO documents call the classes; from 1 in their order unless given"
    )
    short_side: int = Field(
        description="Pictures are scaled until their shorter side has so many pixels", ge=1, le=LARGEST_SIDE
    )
    long_side: int = Field(
        description="or fewer, where their longer side would have more than this", ge=1, le=LARGEST_SIDE
    )
    fill: tuple[_Byte, _Byte, _Byte] = Field(
        default=(127, 127, 127), description="Red, green and blue of what is added at the right and below"
    )
    score_threshold: _Share = Field(default=0.5, description="Least score of an answer")
    iou_threshold: _Share = Field(
        default=0.5, description="Overlap above which the less sure of two boxes of a class goes"
    )
    limit: int = Field(default=100, description="Most answers for a picture", ge=1, le=MOST_DETECTIONS)

    @field_validator("classes")
    @classmethod
    def _require_different(cls, classes: list[str]) -> list[str]:
        stripped = [name.strip() for name in classes]
        if len(set(stripped)) != len(stripped) or "" in stripped:
            raise ValueError("names of classes are different from each other, and none is empty")
        return stripped

    @model_validator(mode="after")
    def _require_agreement(self) -> DetectorRole:
        if self.short_side > self.long_side:
            raise ValueError("short_side is at most long_side")
        ids = self.categories
        if len(ids) != len(self.classes) or len(set(ids)) != len(ids):
            raise ValueError("category_ids are as many as classes, and different from each other")
        return self

    @property
    def categories(self) -> tuple[int, ...]:
        """What COCO documents call the classes, by label."""
        if self.category_ids is None:
            return tuple(range(1, len(self.classes) + 1))
        return tuple(self.category_ids)


def read_role(parameters: dict[str, Any]) -> DetectorRole | None:
    """What the parameters of a card state; None where they state nothing of detection.

    Raises:
        pydantic.ValidationError: they state something that is not understood.
    """
    stated = parameters.get(PARAMETER)
    return None if stated is None else DetectorRole.model_validate(stated)


def describe_image() -> TensorDescription:
    """The input of a detector that takes any sides, for its card."""
    return TensorDescription(
        name=IMAGE,
        dtype="float32",
        shape=[1, 3, "height", "width"],
        unit="RGB, 1 = white",
        range=(0, 1),
        description="A picture whose sides are multiples of 32, normalised in the graph; see parameters.detection",
    )
