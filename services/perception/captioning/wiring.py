"""Whether an encoder and a decoder fit each other, and how the one is fed with what the other gives; by their cards."""

from __future__ import annotations

from dataclasses import dataclass

from services.perception.captioning.roles import ATTENTION, LOG_PROBABILITIES, NEXT, WORDS, DecoderRole
from shared.runtime.cards import UploadedCard


class UnusableCaptioner(Exception):
    """Two models make no captioner; the message says why, as the end of a sentence about the decoder."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a decoder is fed.

    Attributes:
        contexts: inputs that stay as they are.
        states: inputs that are replaced by outputs.
    """

    contexts: tuple[str, ...]
    states: tuple[str, ...]


def wire(encoder: UploadedCard, decoder: UploadedCard, role: DecoderRole) -> Wiring:
    """How a decoder is fed, by the names of its inputs and outputs.

    Raises:
        UnusableCaptioner: something is missing, or does not fit.
    """
    inputs = [one.name for one in decoder.inputs if one.name != WORDS]
    outputs = {one.name: one for one in decoder.outputs}
    states = tuple(name for name in inputs if NEXT + name in outputs)
    expected = {LOG_PROBABILITIES, ATTENTION, *(NEXT + name for name in states)}
    if len(inputs) == len(decoder.inputs) or outputs.keys() != expected:
        raise UnusableCaptioner(
            f"a decoder has an input {WORDS} and the outputs {LOG_PROBABILITIES}, {ATTENTION} and {NEXT}<name> for "
            "each state among its inputs"
        )
    given = {one.name for one in encoder.outputs}
    if given != set(inputs):
        raise UnusableCaptioner(f"its encoder gives {', '.join(sorted(given))}, and it takes {', '.join(inputs)}")
    for name, size, what in (
        (LOG_PROBABILITIES, len(role.words), "words of its card"),
        (ATTENTION, role.places, "places of its grid"),
    ):
        shape = outputs[name].shape
        if len(shape) != 2 or shape[1] != size:
            raise UnusableCaptioner(f"{name} has the shape {shape}, and there are {size} {what}")
    return Wiring(tuple(name for name in inputs if name not in states), states)


def sides_of(card: UploadedCard) -> tuple[int, int]:
    """Height and width of an encoder's pictures.

    Raises:
        UnusableCaptioner: it takes no pictures, or any size of them.
    """
    shape = card.inputs[0].shape
    if len(card.inputs) == 1 and card.inputs[0].dtype == "float32" and len(shape) == 4 and shape[1] == 3:
        height, width = shape[2:]
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    raise UnusableCaptioner(
        f"its encoder {card.name} is to have one float32 input [batch, 3, height, width] of a fixed height and width"
    )
