"""A model as a detector, by its card; and what cards of detectors have to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from shared.detectors.letterboxing import STRIDE, Buckets, Size
from shared.detectors.roles import BOXES, IMAGE, PARAMETER, SCORES, DetectorRole, read_role
from shared.problems import Problem, field_problem
from shared.runtime.cards import ModelReference, TensorDescription, UploadedCard, reference_of
from shared.runtime.models.role_models import caveats_of
from shared.runtime.models.sessions import OnnxModel

_FORM: Final = (
    f"a detector has one float32 input {IMAGE} [1, 3, height, width], and the float32 outputs {BOXES} [regions, 4] or "
    f"[regions, classes, 4] and {SCORES} [regions, classes]"
)


@dataclass(frozen=True, slots=True)
class Detector:
    """A model that finds objects.

    Attributes:
        model: what is run.
        role: what its card says of it.
        buckets: how large it wants to see a picture.
        caveats: what every answer says.
    """

    model: OnnxModel
    role: DetectorRole
    buckets: Buckets
    caveats: tuple[str, ...]

    @property
    def reference(self) -> ModelReference:
        """How answers name it."""
        return reference_of(self.model.card)


def read_detector(model: OnnxModel) -> Detector:
    """A model as a detector, by its card.

    Raises:
        UnprocessableContent: it is none; the detail says what its card would have to say.
    """
    role = require_role(model.card)
    return Detector(model, role, buckets_of(model.card, role), caveats_of(model.card))


def require_role(card: UploadedCard) -> DetectorRole:
    """What the card of a detector says of it.

    Raises:
        UnprocessableContent: it is the card of none; the detail says what it would have to say.
    """
    try:
        role = read_role(card.parameters)
    except ValidationError as error:
        fault = error.errors()[0]
        place = "/".join(map(str, (PARAMETER, *fault["loc"])))
        raise _no_detector(card, f"parameters/{place} of its card: {fault['msg']}") from None
    if role is None:
        raise _no_detector(card, f"its card has no parameters.{PARAMETER}, which names classes and sizes of pictures")
    _require_outputs(card, role)
    return role


def _require_outputs(card: UploadedCard, role: DetectorRole) -> None:
    if [one.name for one in card.outputs] != [BOXES, SCORES] or any(one.dtype != "float32" for one in card.outputs):
        raise _no_detector(card, f"{_FORM}, in this order")
    boxes, scores = (one.shape for one in card.outputs)
    classes = len(role.classes)
    if len(scores) != 2 or not _may_be(scores[1], classes):
        raise _no_detector(card, f"{SCORES} has the shape {scores}, and its card names {classes} classes; {_FORM}")
    of_classes = len(boxes) == 3 and _may_be(boxes[1], classes)
    if not (len(boxes) == 2 or of_classes) or not _may_be(boxes[-1], 4):
        raise _no_detector(card, f"{BOXES} has the shape {boxes}; {_FORM}")


def _may_be(side: int | str, size: int) -> bool:
    return isinstance(side, str) or side == size


def buckets_of(card: UploadedCard, role: DetectorRole) -> Buckets:
    """Sizes that the graph is given: a few if it takes any, its own if that is fixed.

    Raises:
        UnprocessableContent: its own size is none that pictures can be laid into.
    """
    height, width = _sides(card)
    if isinstance(height, str) and isinstance(width, str):
        return Buckets.of_sides(role.short_side, role.long_side, fill=role.fill)
    if height != width or isinstance(height, str) or height % STRIDE or not role.long_side <= height:
        raise _no_detector(
            card,
            f"its input is [1, 3, {height}, {width}]: fixed sides are equal, multiples of {STRIDE}, and no shorter "
            f"than long_side of its card ({role.long_side}); or export it with names for height and width",
        )
    return Buckets(role.short_side, role.long_side, (Size(height, height),), role.fill)


def _sides(card: UploadedCard) -> tuple[int | str, int | str]:
    match card.inputs:
        case [TensorDescription(name=name, dtype="float32", shape=[batch, 3, height, width])]:
            if name == IMAGE and _may_be(batch, 1):
                return height, width
    raise _no_detector(card, _FORM)


def _no_detector(card: UploadedCard, reason: str) -> Problem:
    return field_problem("/body/model", f"{card.name} cannot detect objects: {reason}.")
