"""The captioners that can be asked here: how they read a picture, write a word and search; of which models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from services.perception.captioning.decoding import (
    Arrays,
    DecodedCaption,
    SearchOptions,
    Step,
    search_beams,
    search_greedily,
)
from services.perception.captioning.roles import (
    ATTENTION,
    LOG_PROBABILITIES,
    NEXT,
    WORDS,
    DecoderRole,
    EncoderRole,
    read_role,
)
from services.perception.captioning.wiring import UnusableCaptioner, Wiring, sides_of, wire
from shared.imaging.colour import Pictures, read_pixels
from shared.imaging.preprocessing import Box, Preprocessing, preprocessing_of
from shared.problems import Problem, ServiceUnavailable, field_problem
from shared.runtime.cards import ModelReference, UploadedCard, reference_of
from shared.runtime.models.registry import ModelRegistry
from shared.runtime.models.role_models import caveats_of
from shared.runtime.models.sessions import OnnxModel

MOST_ROWS: Final = 32
"""Of a step: more are no quicker each."""

CONTEXT_BYTES: Final = 128 * 1024 * 1024
"""Of what the encoder says of the rows of a step, which each row holds for itself."""

_LOWEST: Final = np.finfo(np.float32).min


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A posted picture as an encoder sees it.

    Attributes:
        pixels: RGB float32 in [0, 1], (3, height, width).
        height: of the posted picture, upright.
        width: of it.
        box: what is seen of it: left, top, right and bottom edge, in its pixels.
    """

    pixels: Pictures
    height: int
    width: int
    box: Box


@dataclass(frozen=True, slots=True)
class Captioner:
    """An encoder and its decoder.

    Attributes:
        encoder: reads pictures.
        decoder: writes words.
        role: what the decoder's card says of it.
        wiring: how the decoder is fed.
        preprocessing: what the encoder sees of a picture.
        sides: height and width that it sees.
        caveats: what every answer says.
    """

    encoder: OnnxModel
    decoder: OnnxModel
    role: DecoderRole
    wiring: Wiring
    preprocessing: Preprocessing
    sides: tuple[int, int]
    caveats: tuple[str, ...]

    @property
    def reference(self) -> ModelReference:
        """How answers name it."""
        return reference_of(self.decoder.card)

    @property
    def input(self) -> str:
        """Name of the encoder's input."""
        return self.encoder.card.inputs[0].name

    @property
    def most_rows(self) -> int:
        """Rows of a step whose contexts take no more than `CONTEXT_BYTES`, at least one and at most `MOST_ROWS`."""
        contexts = [one for one in self.encoder.card.outputs if one.name in self.wiring.contexts]
        elements = sum(prod(size for size in one.shape if isinstance(size, int)) for one in contexts)
        return max(1, min(MOST_ROWS, CONTEXT_BYTES // max(1, 4 * elements)))

    def read(self, data: bytes, *, pixel_limit: int, pointer: str) -> SeenPicture:
        """Decode a posted picture, cut and scale it.

        Args:
            data: PNG, JPEG or WebP of any size.
            pixel_limit: most pixels of it.
            pointer: the field to blame.

        Raises:
            UnsupportedMediaType, ContentTooLarge, UnprocessableContent: as `decode_picture`.
        """
        pixels, white = read_pixels(data, pixel_limit=pixel_limit, pointer=pointer)
        height, width = self.sides
        rows, columns = pixels.shape[:2]
        seen = self.preprocessing.scale(pixels, white=white, height=height, width=width)
        return SeenPicture(seen, rows, columns, self.preprocessing.box(rows, columns, height / width))

    def named(self, encoded: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What the encoder answered, in the order of its card, by name."""
        return {one.name: array for one, array in zip(self.encoder.card.outputs, encoded, strict=True)}

    def search(
        self, encoded: Mapping[str, NDArray[Any]], *, beams: int, captions: int = 1, most_words: int = 20
    ) -> list[list[DecodedCaption]]:
        """The best captions of some pictures, the best first; all pictures and beams are computed together.

        Args:
            encoded: the encoder's answers by name, first axis (pictures,).
            beams: of each picture; with 1, each word is the most likely one.
            captions: wanted of each picture, no more than beams.
            most_words: of a caption.

        Raises:
            Interrupted: the computation that this belongs to was told to stop.
            UnprocessableContent: the decoder answered what are no log-probabilities.
        """
        role = self.role
        options = SearchOptions(
            width=beams,
            maximum=min(most_words, role.most_words),
            length_power=role.length_power,
            forbidden=tuple(role.forbidden),
            start=role.start,
            end=role.end,
        )
        states = tuple(encoded[name] for name in self.wiring.states)
        contexts = tuple(encoded[name] for name in self.wiring.contexts)
        if beams == 1:
            return [[caption] for caption in search_greedily(self.step, states, contexts, options)]
        return [found[:captions] for found in search_beams(self.step, states, contexts, options)]

    def step(self, words: NDArray[np.int64], states: Arrays, contexts: Arrays) -> Step:
        """One word of each row; see `StepFunction`."""
        wiring = self.wiring
        inputs = dict(zip((*wiring.contexts, *wiring.states), (*contexts, *states), strict=True))
        answered = self.decoder.run({WORDS: words, **inputs})
        found = {one.name: array for one, array in zip(self.decoder.card.outputs, answered, strict=True)}
        likely = found[LOG_PROBABILITIES]
        if np.isnan(likely).any():
            raise _no_captioner(self.decoder.card, "its log-probabilities of this picture are not numbers")
        after = tuple(found[NEXT + name] for name in wiring.states)
        return Step(np.maximum(likely, _LOWEST), found[ATTENTION], after)


class Captioners:
    """Finds captioners by name; the card of each decoder is read once."""

    def __init__(self) -> None:
        self._roles: WeakKeyDictionary[OnnxModel, DecoderRole] = WeakKeyDictionary()

    def find(self, registry: ModelRegistry, name: str | None) -> Captioner:
        """A captioner.

        Args:
            registry: of the service.
            name: of its decoder; None for the first by name.

        Raises:
            NotFound: there is no such model.
            ServiceUnavailable: models are still loading.
            UnprocessableContent: the model is no captioner; the detail says what is wrong with its card.
        """
        decoder = registry.get(name or default_captioner(registry))
        role = self._roles.get(decoder)
        if role is None:
            role = self._roles[decoder] = _decoder_role(decoder.card, registry)
        encoder = _find_encoder(registry, decoder.card, role)
        try:
            return make_captioner(encoder, decoder, role)
        except UnusableCaptioner as error:
            raise _no_captioner(decoder.card, str(error)) from None


def make_captioner(encoder: OnnxModel, decoder: OnnxModel, role: DecoderRole) -> Captioner:
    """A captioner of two models.

    Raises:
        UnusableCaptioner: they do not fit each other.
    """
    sides = sides_of(encoder.card)
    try:
        preprocessing = preprocessing_of(encoder.card.parameters)
        if not isinstance(read_role(encoder.card.parameters), EncoderRole):
            raise UnusableCaptioner(f"the card of {encoder.card.name} does not say that it is an encoder of captions")
    except ValidationError as error:
        raise UnusableCaptioner(f"the card of {encoder.card.name} is wrong: {error.errors()[0]['msg']}") from None
    wiring = wire(encoder.card, decoder.card, role)
    return Captioner(encoder, decoder, role, wiring, preprocessing, sides, caveats_of(decoder.card))


def list_captioners(registry: ModelRegistry) -> list[str]:
    """Names of the decoders that answer by default, in their order."""
    return [entry.card.name for entry in registry.entries if entry.is_default and _is_decoder(entry.card)]


def default_captioner(registry: ModelRegistry) -> str:
    """Name of the captioner that is asked where a request names none: the first by name.

    Raises:
        ServiceUnavailable: models are still loading.
        UnprocessableContent: there is none.
    """
    names = list_captioners(registry)
    if names:
        return names[0]
    if not registry.opened:
        raise ServiceUnavailable("The models are loading. /health/ready says when they are ready.", retry_after_s=5)
    raise field_problem("/body/model", "No captioner is released here. Upload one, and name it as `model`.")


def _is_decoder(card: UploadedCard) -> bool:
    try:
        return isinstance(read_role(card.parameters), DecoderRole)
    except ValidationError:
        return False


def _decoder_role(card: UploadedCard, registry: ModelRegistry) -> DecoderRole:
    try:
        role = read_role(card.parameters)
    except ValidationError as error:
        fault = error.errors()[0]
        place = "/".join(map(str, fault["loc"]))
        raise _no_captioner(card, f"parameters/captioning/{place} of its card: {fault['msg']}") from None
    if isinstance(role, DecoderRole):
        return role
    names = ", ".join(list_captioners(registry)) or "none"
    what = "it is the part of a captioner that reads pictures" if role else "its card has no parameters.captioning"
    raise _no_captioner(card, f"{what}. Captioners here: {names}")


def _find_encoder(registry: ModelRegistry, card: UploadedCard, role: DecoderRole) -> OnnxModel:
    for version in registry.versions(role.encoder):
        model = registry.get(role.encoder, version)
        if model.card.weights.sha256 == role.encoder_sha256:
            return model
    if not registry.opened:
        raise ServiceUnavailable("The models are loading. /health/ready says when they are ready.", retry_after_s=5)
    raise _no_captioner(
        card, f"its encoder, {role.encoder} with the digest {role.encoder_sha256[:12]}..., is not loaded here"
    )


def _no_captioner(card: UploadedCard, reason: str) -> Problem:
    return field_problem("/body/model", f"{card.name} cannot caption pictures: {reason}.")
