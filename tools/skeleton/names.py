"""What a new capability is called, checked before anything is written."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from shared.capabilities.collection import Capabilities
from shared.settings import DOMAINS, Domain

LONGEST_NAME = 32

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TAKEN = frozenset({"app", "application", "models", "services", "shared", "test", "tests"})
"""Modules and folders of a domain, and names that a reader would take for others."""


class NameRefused(Exception):
    """A capability cannot be called so; the message says why, and what would do."""


@dataclass(frozen=True, slots=True)
class Names:
    """A capability in every spelling that the templates need."""

    domain: Domain
    name: str

    @property
    def slug(self) -> str:
        """In addresses and file names, such as `face-landmarks`."""
        return self.name.replace("_", "-")

    @property
    def words(self) -> str:
        """In text and as the chapter of the documentation, such as `caption attack`."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """At the beginning of a sentence."""
        return self.words.capitalize()

    @property
    def model(self) -> str:
        """Of its released model, which says what it is."""
        return f"{self.slug}-placeholder"

    @property
    def path(self) -> str:
        """That its routes are below."""
        return f"/v1/{self.domain}/{self.slug}"


def check_names(domain: str, name: str, declared: Capabilities, chapters: frozenset[str]) -> Names:
    """The names of a new capability.

    Args:
        domain: one of the five.
        name: of its folder.
        declared: the capabilities that there are.
        chapters: of the documentation, further ones than those of capabilities.

    Raises:
        NameRefused: there is no such domain, the name is of another form, or it is taken.
    """
    found = next((one for one in DOMAINS if one == domain), None)
    if found is None:
        raise NameRefused(f"DOMAIN={domain}: there is no such service; take one of {', '.join(DOMAINS)}")
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise NameRefused(
            f"NAME={name}: a name has small letters, digits and single underscores, begins with a letter and has at "
            f"most {LONGEST_NAME} characters, such as face_landmarks"
        )
    if keyword.iskeyword(name) or name in _TAKEN:
        raise NameRefused(f"NAME={name}: this word has a meaning already; take another")
    names = Names(found, name)
    _require_free(names, declared, chapters)
    return names


def _require_free(names: Names, declared: Capabilities, chapters: frozenset[str]) -> None:
    if any(one.name == names.name for one in declared):
        raise NameRefused(f"NAME={names.name}: there is a capability of this name; take another")
    if any(rule.path == names.path for rule in declared.access):
        raise NameRefused(f"NAME={names.name}: {names.path} is another capability's; take another name")
    if names.words in chapters | declared.tags.keys():
        raise NameRefused(f"NAME={names.name}: the documentation has a chapter of this name; take another")


def require_absent(paths: list[Path]) -> None:
    """Refuse to write over anything.

    Raises:
        NameRefused: one of the paths is there.
    """
    if there := [path for path in paths if path.exists()]:
        raise NameRefused(f"{there[0]} is there already; nothing was written. Remove it or take another name")
