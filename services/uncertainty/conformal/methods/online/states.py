"""States of things that run on: frozen, replaced by every step, kept as JSON between steps.

Whoever keeps them can lose a process, replay an observation or refuse an outdated one; nothing hides in an object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

FORMAT = 1


@dataclass(frozen=True)
class State:
    """Fields are numbers, truth values, text, and tuples of numbers, all finite."""

    KIND: ClassVar[str]
    """Names the class in JSON."""

    def to_json(self) -> dict[str, Any]:
        """The state as JSON holds it, exactly: floats survive both ways."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        content = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"format": FORMAT, "kind": self.KIND, **content}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The state that `to_json` wrote.

        Raises:
            ValueError: another kind, format or set of fields, or a number that is not finite.
        """
        content = dict(document)
        if content.pop("format", None) != FORMAT or content.pop("kind", None) != cls.KIND:
            raise ValueError(f"expected a state of kind {cls.KIND}, format {FORMAT}")
        if set(content) != {field.name for field in fields(cls)}:
            raise ValueError(f"the fields do not fit a state of kind {cls.KIND}")
        for value in content.values():
            check_numbers(value)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in content.items()})


def check_numbers(value: object) -> None:
    """Refuses numbers that are not finite, alone or in a list.

    Raises:
        ValueError: there is one.
    """
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError("a state holds finite numbers only")
