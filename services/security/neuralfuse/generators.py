"""Which generators and base models the security service has, by the parts that their cards give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.neuralfuse.roles import BaseRole, GeneratorRole, role_of
from shared.problems import NotFound, ServiceUnavailable, field_problem
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.cards import ModelReference, UploadedCard, reference_of
from shared.runtime.models.registry import ModelRegistry

NO_GENERATOR: Final = "none"
"""Name that stands for no generator."""

MULTIPLE: Final = 8
"""Sides of pictures that a generator takes are multiples of it: it halves them three times."""

_ROWS: Final = 16
"""Most pictures of one run, unless the card says otherwise."""


@dataclass(frozen=True, slots=True)
class Generator:
    """A network that pictures pass before a classifier.

    Attributes:
        card: of the model.
        role: what it was trained for.
    """

    card: UploadedCard
    role: GeneratorRole

    @property
    def reference(self) -> ModelReference:
        """How answers name it."""
        return reference_of(self.card)

    def was_trained_for(self, model: ModelReference) -> bool:
        """Whether a classifier is the one that it was trained for, of the same file."""
        return (self.role.base, self.role.base_sha256) == (model.name, model.weights_sha256)

    def require_size(self, height: int, width: int) -> None:
        """Check that it takes pictures of this size.

        Raises:
            UnprocessableContent: a side is no multiple of 8.
        """
        if height % MULTIPLE or width % MULTIPLE:
            raise field_problem(
                "/body/generator",
                f"A generator takes pictures whose sides are multiples of {MULTIPLE}, and this model sees {height} x "
                f"{width}. Ask with generator={NO_GENERATOR}.",
            )


def list_generators(registry: ModelRegistry) -> list[Generator]:
    """Those that answer by default, by name."""
    return [Generator(card, role) for card, role in _roles(registry) if isinstance(role, GeneratorRole)]


def list_bases(registry: ModelRegistry) -> list[tuple[UploadedCard, BaseRole]]:
    """Classifiers that were released to be protected, by name."""
    return [(card, role) for card, role in _roles(registry) if isinstance(role, BaseRole)]


def _roles(registry: ModelRegistry) -> Iterator[tuple[UploadedCard, BaseRole | GeneratorRole]]:
    for entry in registry.entries:
        if entry.is_default and (role := role_of(entry.card)) is not None:
            yield entry.card, role


def find_generator(registry: ModelRegistry, name: str) -> Generator:
    """A generator by its name.

    Raises:
        NotFound: there is no such model, or it is no generator.
        ServiceUnavailable: models are still loading.
    """
    card = registry.get(name).card
    role = role_of(card)
    if not isinstance(role, GeneratorRole):
        raise NotFound(f"{name} is no generator of NeuralFuse. GET /v1/security/neuralfuse/generators lists them.")
    return Generator(card, role)


def choose_generator(registry: ModelRegistry, asked: str | None, model: ModelReference) -> Generator | None:
    """The generator of a request.

    Args:
        registry: of the service.
        asked: its name, `none`, or None for the one of the model: of several the one with the largest file.
        model: the classifier.

    Returns:
        None where none is wanted, or none was trained for the model.

    Raises:
        UnprocessableContent: there is no generator of this name.
    """
    if asked == NO_GENERATOR:
        return None
    if asked is not None:
        try:
            return find_generator(registry, asked)
        except NotFound:
            names = ", ".join(one.card.name for one in list_generators(registry)) or "none is released"
            detail = f"There is no generator {asked}. Generators here: {names}; `{NO_GENERATOR}` stands for none."
            raise field_problem("/body/generator", detail) from None
    fitting = [one for one in list_generators(registry) if one.was_trained_for(model)]
    return max(fitting, key=lambda one: one.card.weights.bytes, default=None)


def default_base(registry: ModelRegistry) -> str:
    """Name of the classifier that is asked where a request names none: the first that a generator was trained for.

    Raises:
        ServiceUnavailable: models are still loading.
        UnprocessableContent: none was released.
    """
    bases, generators = [reference_of(card) for card, _ in list_bases(registry)], list_generators(registry)
    protected = [base for base in bases if any(one.was_trained_for(base) for one in generators)]
    if bases:
        return (protected or bases)[0].name
    if not registry.opened:
        raise ServiceUnavailable("The models are loading. /health/ready says when they are ready.", retry_after_s=5)
    raise field_problem(
        "/body/model", "No base model of NeuralFuse is released here. Name a classifier of GET /v1/models as `model`."
    )


async def transform(
    generator: Generator, pictures: NDArray[np.float32], *, registry: ModelRegistry, batchers: Batchers
) -> NDArray[np.float32]:
    """F(x) of pictures, at nominal voltage: RGB in [0, 1], float32 (count, 3, height, width) in and out."""
    model = registry.get(generator.card.name, generator.card.version)
    rows, name = generator.card.runtime.batch_rows or _ROWS, generator.card.inputs[0].name
    parts = [
        (await batchers.infer(model, {name: pictures[start : start + rows]}))[0]
        for start in range(0, len(pictures), rows)
    ]
    transformed: NDArray[np.float32] = np.concatenate(parts)
    return transformed
