"""Which models classify pictures, and how each wants them: read off their cards, released or uploaded.

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
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.datasets.traffic_sign_names import SIGNS
from shared.imaging.preprocessing import Preprocessing
from shared.problems import field_problem
from shared.runtime.cards import ModelReference, UploadedCard, reference_of
from shared.runtime.sessions import OnnxModel

SIGNS_MODEL: Final = "traffic-signs"
SIGNS_CAVEAT: Final = (
    "The classifier knows 43 German signs, cut out of photographs. Of anything else it names the sign that it finds "
    "most alike, however sure it sounds."
)
_CHANNELS: Final = 3


class Parameters(BaseModel):
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
class Classifier:
    """A model that classifies pictures.

    Attributes:
        model: what is run.
        reference: how answers name it.
        input: name of its input.
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

    model: OnnxModel
    reference: ModelReference
    input: str
    height: int
    width: int
    labels: Sequence[str]
    temperature: float
    answers_probabilities: bool
    scale: NDArray[np.float32] | None
    shift: NDArray[np.float32] | None
    preprocessing: Preprocessing
    caveats: Sequence[str]

    def normalise(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """A picture in [0, 1], (3, height, width), as the network wants it."""
        if self.scale is None or self.shift is None:
            return picture
        return picture * self.scale + self.shift


class Classifiers:
    """Reads the card of each model once."""

    def __init__(self) -> None:
        self._read: WeakKeyDictionary[OnnxModel, Classifier] = WeakKeyDictionary()

    def of(self, model: OnnxModel) -> Classifier:
        """What a model is as a classifier.

        Raises:
            UnprocessableContent: it is none; the detail says what its card would have to say.
        """
        known = self._read.get(model)
        if known is None:
            known = self._read[model] = read_classifier(model)
        return known


def read_classifier(model: OnnxModel) -> Classifier:
    """A model as a classifier, by its card; see `Classifiers.of`."""
    card = model.card
    height, width, count = _sides(card)
    try:
        wanted = Parameters.model_validate(card.parameters)
    except ValidationError as error:
        fault = error.errors()[0]
        place = "/".join(map(str, fault["loc"]))
        raise _no_classifier(card, f"parameters/{place} of its card: {fault['msg']}") from None
    if not isinstance(height, int) or not isinstance(width, int):
        if wanted.size is None:
            raise _no_classifier(card, "it takes any height and width, and `parameters.size` of its card names none")
        height, width = wanted.size
    scale, shift = _affine(card, wanted)
    return Classifier(
        model=model,
        reference=reference_of(card),
        input=card.inputs[0].name,
        height=height,
        width=width,
        labels=_labels(card, wanted, count),
        temperature=wanted.temperature,
        answers_probabilities=wanted.output == "probabilities",
        scale=scale,
        shift=shift,
        preprocessing=wanted.preprocessing,
        caveats=(SIGNS_CAVEAT,) if card.name == SIGNS_MODEL else tuple(wanted.caveats),
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


def _labels(card: UploadedCard, wanted: Parameters, count: int) -> Sequence[str]:
    if wanted.classes is None:
        return SIGNS if card.name == SIGNS_MODEL and count == len(SIGNS) else tuple(map(str, range(count)))
    if len(wanted.classes) != count:
        raise _no_classifier(card, f"its card names {len(wanted.classes)} classes, and it answers {count}")
    return tuple(wanted.classes)


def _affine(card: UploadedCard, wanted: Parameters) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Factor and summand that take [0, 1] to what the network wants."""
    low, high = card.inputs[0].range or (0.0, 1.0)
    low, high = (0.0, 1.0) if low is None or high is None else (low, high)
    mean, std = (np.array(values, np.float64).reshape(_CHANNELS, 1, 1) for values in (wanted.mean, wanted.std))
    if not std.all():
        raise _no_classifier(card, "`parameters.std` of its card has a zero")
    if wanted.mean != Parameters().mean or wanted.std != Parameters().std:
        low, high = 0.0, 1.0  # the stated range is that of what mean and std make
    scale, shift = (high - low) / std, (low - mean) / std
    if (scale == 1).all() and (shift == 0).all():
        return None, None
    return scale.astype(np.float32), shift.astype(np.float32)


def _no_classifier(card: UploadedCard, reason: str) -> Exception:
    return field_problem("/body/model", f"{card.name} cannot classify pictures: {reason}. See /v1/models/{card.name}")
