"""What is to be served of a domain beside its released models, and how it may be changed. Pure: no Redis in here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from shared.problems import Conflict, FieldError, NotFound, UnprocessableContent, field_problem
from shared.runtime.cards import TensorDescription, UploadedCard
from shared.runtime.models.version_routing import Canary

ALIAS_PATTERN: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
"""Never a version: those begin with a digit."""

Key = tuple[str, str]
"""Name and version."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One uploaded version.

    Attributes:
        card: of the model.
        blob: address of its file in the blob store.
        loaded: whether it is to be open.
        attempt: grows when it is to be opened again after a failure.
    """

    card: UploadedCard
    blob: str
    loaded: bool = True
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What services are to come to.

    Attributes:
        revision: grows with every change.
        deployments: uploaded versions.
        aliases: version by alias, by name of the model.
        canaries: by name of the model.
    """

    revision: int = 0
    deployments: Mapping[Key, Deployment] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    canaries: Mapping[str, Canary] = field(default_factory=dict)

    def deployment(self, name: str, version: str) -> Deployment:
        """An uploaded version.

        Raises:
            NotFound: there is none.
        """
        found = self.deployments.get((name, version))
        if found is None:
            raise NotFound(f"There is no uploaded model {name} {version}.")
        return found

    def with_upload(self, upload: Deployment) -> DesiredState:
        """Add a version; the same file with the same card again changes nothing.

        Raises:
            Conflict: the version is there with another file or card.
        """
        card = upload.card
        before = self.deployments.get((card.name, card.version))
        if before is None:
            return replace(self, deployments={**self.deployments, (card.name, card.version): upload})
        if before.blob != upload.blob:
            raise Conflict(f"{card.name} {card.version} is there with another file. Give this one another version.")
        if before.card != card:
            raise Conflict(f"{card.name} {card.version} is there with another card. Give this one another version.")
        return self

    def with_loaded(self, name: str, version: str, *, loaded: bool) -> DesiredState:
        """Load or unload a version.

        Raises:
            NotFound: it was not uploaded.
            Conflict: it is to be unloaded while an alias or a canary names it.
        """
        before = self.deployment(name, version)
        if not loaded:
            self._require_unused(name, version)
        return replace(self, deployments={**self.deployments, (name, version): replace(before, loaded=loaded)})

    def with_another_try(self, name: str, version: str) -> DesiredState:
        """Open a version that failed again.

        Raises:
            NotFound: it was not uploaded.
        """
        before = self.deployment(name, version)
        again = replace(before, loaded=True, attempt=before.attempt + 1)
        return replace(self, deployments={**self.deployments, (name, version): again})

    def without(self, name: str, version: str) -> DesiredState:
        """Remove a version.

        Raises:
            NotFound: it was not uploaded.
            Conflict: an alias or a canary names it.
        """
        self.deployment(name, version)
        self._require_unused(name, version)
        return replace(self, deployments={key: one for key, one in self.deployments.items() if key != (name, version)})

    def with_alias(self, name: str, alias: str, version: str) -> DesiredState:
        """Point an alias at a version."""
        return replace(self, aliases={**self.aliases, name: {**self.aliases.get(name, {}), alias: version}})

    def without_alias(self, name: str, alias: str) -> DesiredState:
        """Remove an alias.

        Raises:
            NotFound: there is none of that name.
        """
        own = dict(self.aliases.get(name, {}))
        if own.pop(alias, None) is None:
            raise NotFound(f"{name} has no alias {alias}.")
        others = {other: aliases for other, aliases in self.aliases.items() if other != name}
        return replace(self, aliases={**others, name: own} if own else others)

    def with_canary(self, name: str, canary: Canary) -> DesiredState:
        """Send a share of requests to a version."""
        return replace(self, canaries={**self.canaries, name: canary})

    def without_canary(self, name: str) -> DesiredState:
        """Send all requests to the default again.

        Raises:
            NotFound: there is no canary.
        """
        if name not in self.canaries:
            raise NotFound(f"{name} has no canary.")
        return replace(self, canaries={other: canary for other, canary in self.canaries.items() if other != name})

    def _require_unused(self, name: str, version: str) -> None:
        aliases = sorted(alias for alias, to in self.aliases.get(name, {}).items() if to == version)
        if aliases:
            raise Conflict(f"The alias {aliases[0]} names {name} {version}: point it at another version first.")
        if (canary := self.canaries.get(name)) is not None and canary.version == version:
            raise Conflict(f"{name} {version} is the canary: remove the canary first.")


def require_interchangeable(card: UploadedCard, others: Iterable[UploadedCard]) -> None:
    """Versions of one model take and give the same: a request does not know which of them answers it.

    Raises:
        UnprocessableContent: another version has other inputs or outputs.
    """
    for other in others:
        sides = (("inputs", card.inputs, other.inputs), ("outputs", card.outputs, other.outputs))
        faults = [
            FieldError(
                pointer=f"/body/card/{side}",
                detail=f"{card.name} {other.version} has other {side}. Give this model a name of its own.",
            )
            for side, own, theirs in sides
            if _signature(own) != _signature(theirs)
        ]
        if faults:
            raise UnprocessableContent(faults[0].detail, errors=faults)


def _signature(tensors: Collection[TensorDescription]) -> list[tuple[str, str, tuple[int | None, ...]]]:
    return [
        (tensor.name, tensor.dtype, tuple(side if isinstance(side, int) else None for side in tensor.shape))
        for tensor in tensors
    ]


def require_alias(alias: str) -> None:
    """Refuse what is no alias.

    Raises:
        UnprocessableContent: it is none.
    """
    if not ALIAS_PATTERN.fullmatch(alias):
        raise field_problem("/path/alias", "An alias begins with a letter: a to z, digits and hyphens, 64 at most.")
