"""Which version of a model answers: one that is named, one behind an alias, or the default with a canary beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the gateway names canaries and loads no onnxruntime
    from shared.runtime.models.sessions import OnnxModel

_BEGINNING = re.compile(r"(0|[1-9][0-9]{0,5})(\.(0|[1-9][0-9]{0,5}))?")

DEFAULT_ALIAS = "default"
"""The alias that decides what a request without a version gets."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that a share of the requests without a version goes to.

    Attributes:
        version: which.
        share: from 0 to 1.
    """

    version: str
    share: float


@dataclass(frozen=True, slots=True)
class VersionRouting:
    """The versions of one model that are open, and how requests are spread over them. Made anew at every change.

    Attributes:
        versions: by number.
        aliases: version by alias.
        default: answers requests without a version; None where the alias `default` names one that is not open.
        canary: another that takes a share of them.
        share: from 0 to 1.
    """

    versions: Mapping[str, OnnxModel]
    aliases: Mapping[str, str] = field(default_factory=dict)
    default: OnnxModel | None = None
    canary: OnnxModel | None = None
    share: float = 0.0

    def choose(self, version: str | None, request_id: str) -> OnnxModel | None:
        """The model that answers, or None where it is not open.

        Args:
            version: a version or an alias, as `resolve` takes them; None for the default.
            request_id: the same id gets the same version, as long as the share stays.
        """
        if version is not None:
            return self.versions.get(resolve(version, self.versions, self.aliases) or "")
        if self.canary is not None and falls_to_canary(request_id, self.canary.card.name, self.share):
            return self.canary
        return self.default


def line_up(versions: Mapping[str, OnnxModel], *, aliases: Mapping[str, str], canary: Canary | None) -> VersionRouting:
    """Spread requests over the open versions of a model."""
    newest = max(versions, key=by_number, default="")
    default = versions.get(aliases.get(DEFAULT_ALIAS, newest))
    if canary is None:
        return VersionRouting(versions, aliases, default)
    return VersionRouting(versions, aliases, default, versions.get(canary.version), canary.share)


def resolve(asked: str, versions: Collection[str], aliases: Mapping[str, str]) -> str | None:
    """The version that is meant: by all of its number, by an alias, or by the beginning of its number.

    1 is the newest of 1.x.y and 1.2 that of 1.2.x, as clients of Triton know versions by one number.

    Args:
        asked: what a request names.
        versions: that there are.
        aliases: version by alias; none of them looks like a number.

    Returns:
        A version, which an alias may name without its being there; None where nothing is meant.
    """
    if asked in versions:
        return asked
    if asked in aliases:
        return aliases[asked]
    if not _BEGINNING.fullmatch(asked):
        return None
    return max((version for version in versions if version.startswith(f"{asked}.")), key=by_number, default=None)


def falls_to_canary(request_id: str, name: str, share: float) -> bool:
    """Whether a request is one of the canary's share; by a hash, so that its repetition is as well."""
    digest = hashlib.blake2b(f"{name}\n{request_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def by_number(version: str) -> tuple[int, ...]:
    """Sorts versions: 1.10.0 is after 1.9.0."""
    return tuple(int(part) for part in version.split("."))
