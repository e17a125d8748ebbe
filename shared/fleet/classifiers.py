"""What a classifier of pictures is and how it wants them: read off its card, released or uploaded.

A classifier has one float32 input [batch, 3, height, width] and one float32 output [batch, classes], of which its card
may say more:

- the input's `range`: what black and white are, [0, 1] unless it says so
- `parameters.mean`, `parameters.std`: subtracted from, and divided by, in that range; three numbers each
- `parameters.classes`: names, one for each class; numbers unless given
- `parameters.temperature`: the logits are divided by it, 1 unless given
- `parameters.output`: "logits", or "probabilities" where the graph ends in a softmax
- `parameters.size`: [height, width], where the graph takes any
- `parameters.preprocessing`: which part of a picture it sees and how that is scaled, see `shared.imaging.preprocessing`
- `parameters.caveats`: sentences that every answer carries
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.imaging.preprocessing import Preprocessing
from shared.problems import field_problem
from shared.runtime.cards import ModelReference, UploadedCard, reference_of

_CHANNELS: Final = 3


class ClassifierParameters(BaseModel):
    """Parameters of a card that say how a classifier is to be used; those of other purposes are left alone."""

    model_config = ConfigDict(extra="ignore", strict=False)

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    classes: list[str] | None = None
    temperature: float = Field(default=1.0, gt=0)
    output: str = Field(default="logits", pattern="^(logits|probabilities)$")
    size: tuple[int, int] | None = None
    preprocessing: Preprocessing = Preprocessing()
    caveats: list[str] = []


@dataclass(frozen=True, slots=True)
class Scores:
    """What a network says of a batch.

    Attributes:
        logits: float32, (count, classes).
        probabilities: softmax of the logits over the temperature, float32, (count, classes).
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierDescription:
    """A classifier, as its card has it.

    Attributes:
        card: of the model.
        reference: how answers name it.
        input: name of its input.
        output: name of its output.
        height: rows of its input.
        width: columns of it.
        labels: name of each class.
        temperature: logits are divided by it.
        answers_probabilities: whether the output is that already.
        scale: factor of pixels in [0, 1], float32 (3, 1, 1), and `shift`, added after; None where they change nothing.
        shift: see `scale`.
        preprocessing: which part of a picture it sees, and how that is scaled.
        caveats: what every answer says.
    """

    card: UploadedCard
    reference: ModelReference
    input: str
    output: str
    height: int
    width: int
    labels: Sequence[str]
    temperature: float
    answers_probabilities: bool
    scale: NDArray[np.float32] | None
    shift: NDArray[np.float32] | None
    preprocessing: Preprocessing
    caveats: Sequence[str]

    def read(self, data: bytes, *, pixel_limit: int, pointer: str) -> NDArray[np.float32]:
        """A posted picture, cut and scaled to what the network sees: RGB in [0, 1], float32 (3, height, width).

        Args:
            data: PNG, JPEG or WebP of any size.
            pixel_limit: most pixels of it.
            pointer: the field to blame.

        Raises:
            UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
        """
        size = {"height": self.height, "width": self.width}
        return self.preprocessing.read(data, **size, pixel_limit=pixel_limit, pointer=pointer)

    def normalise(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures in [0, 1], (..., 3, height, width), as the network wants them."""
        if self.scale is None or self.shift is None:
            return pictures
        return pictures * self.scale + self.shift

    def scores(self, answered: NDArray[np.float32]) -> Scores:
        """Logits and probabilities out of what the network answered, (count, classes)."""
        if self.answers_probabilities:
            with np.errstate(divide="ignore"):
                return Scores(np.maximum(np.log(answered), np.finfo(np.float32).min), answered)
        return Scores(answered, softmax(answered / np.float32(self.temperature)))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis, float32."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


def describe_classifier(card: UploadedCard) -> ClassifierDescription:
    """What a model is as a classifier.

    Raises:
        UnprocessableContent: it is none; the detail says what its card would have to say.
    """
    height, width, count = _sides(card)
    try:
        wanted = ClassifierParameters.model_validate(card.parameters)
    except ValidationError as error:
        fault = error.errors()[0]
        place = "/".join(map(str, fault["loc"]))
        raise _no_classifier(card, f"parameters/{place} of its card: {fault['msg']}") from None
    if not isinstance(height, int) or not isinstance(width, int):
        if wanted.size is None:
            raise _no_classifier(card, "it takes any height and width, and `parameters.size` of its card names none")
        height, width = wanted.size
    scale, shift = _affine(card, wanted)
    return ClassifierDescription(
        card=card,
        reference=reference_of(card),
        input=card.inputs[0].name,
        output=card.outputs[0].name,
        height=height,
        width=width,
        labels=_labels(card, wanted, count),
        temperature=wanted.temperature,
        answers_probabilities=wanted.output == "probabilities",
        scale=scale,
        shift=shift,
        preprocessing=wanted.preprocessing,
        caveats=tuple(wanted.caveats),
    )


def _sides(card: UploadedCard) -> tuple[Any, Any, int]:
    tensors = [*card.inputs, *card.outputs]
    shapes = [tensor.shape for tensor in tensors]
    fits = (
        len(card.inputs) == len(card.outputs) == 1
        and all(tensor.dtype == "float32" and tensor.shape[:1] == ["batch"] for tensor in tensors)
        and (len(shapes[0]), len(shapes[1])) == (4, 2)
        and shapes[0][1] == _CHANNELS
        and isinstance(shapes[1][1], int)
    )
    if not fits:
        wanted = "one float32 input [batch, 3, height, width] and one float32 output [batch, classes]"
        raise _no_classifier(card, f"a classifier of pictures has {wanted}")
    classes = shapes[1][1]
    assert isinstance(classes, int)  # noqa: S101 - just looked at
    return shapes[0][2], shapes[0][3], classes


def _labels(card: UploadedCard, wanted: ClassifierParameters, count: int) -> Sequence[str]:
    if wanted.classes is None:
        return tuple(map(str, range(count)))
    if len(wanted.classes) != count:
        raise _no_classifier(card, f"its card names {len(wanted.classes)} classes, and it answers {count}")
    return tuple(wanted.classes)


def _affine(
    card: UploadedCard, wanted: ClassifierParameters
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Factor and summand that take [0, 1] to what the network wants."""
    low, high = card.inputs[0].range or (0.0, 1.0)
    low, high = (0.0, 1.0) if low is None or high is None else (low, high)
    mean, std = (np.array(values, np.float64).reshape(_CHANNELS, 1, 1) for values in (wanted.mean, wanted.std))
    if not std.all():
        raise _no_classifier(card, "`parameters.std` of its card has a zero")
    default = ClassifierParameters()
    if wanted.mean != default.mean or wanted.std != default.std:
        low, high = 0.0, 1.0  # the stated range is that of what mean and std make
    scale, shift = (high - low) / std, (low - mean) / std
    if (scale == 1).all() and (shift == 0).all():
        return None, None
    return scale.astype(np.float32), shift.astype(np.float32)


def _no_classifier(card: UploadedCard, reason: str) -> Exception:
    return field_problem("/body/model", f"{card.name} cannot classify pictures: {reason}. See /v1/models/{card.name}")
