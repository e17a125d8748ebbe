"""Models that can be asked for one purpose, found by name and read by their cards once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from shared.runtime.cards import UploadedCard
from shared.runtime.models.registry import ModelRegistry
from shared.runtime.models.sessions import OnnxModel

Found = TypeVar("Found")


class RoleModels(Generic[Found]):
    """Finds models of a purpose by name; the card of each is read once.

    Args:
        read: a model as one of the purpose, by its card; raises UnprocessableContent if it is none.
        default: name of the one that is asked where a request names none.
    """

    def __init__(self, read: Callable[[OnnxModel], Found], default: Callable[[ModelRegistry], str]) -> None:
        self._read_model, self._default = read, default
        self._known: WeakKeyDictionary[OnnxModel, Found] = WeakKeyDictionary()

    def find(self, registry: ModelRegistry, name: str | None, version: str | None = None) -> Found:
        """A model.

        Args:
            registry: of the service.
            name: of it; None for the one that is asked by default.
            version: a version, the beginning of one or an alias; the default unless given.

        Raises:
            NotFound: there is no such model.
            ServiceUnavailable: models are still loading, or none of this kind is here and that is how it is said.
            UnprocessableContent: it is none of the purpose; the detail says what is wrong with its card.
        """
        model = registry.get(name or self._default(registry), version)
        known = self._known.get(model)
        if known is None:
            known = self._known[model] = self._read_model(model)
        return known


def caveats_of(card: UploadedCard) -> tuple[str, ...]:
    """What every answer of a model says: `caveats` among the parameters of its card."""
    stated = card.parameters.get("caveats", [])
    return tuple(map(str, stated)) if isinstance(stated, list) else ()
