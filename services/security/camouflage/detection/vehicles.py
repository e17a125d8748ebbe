"""Which classes of a detector are vehicles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.problems import field_problem

VEHICLES: Final = frozenset({"vehicle", "car", "truck", "bus", "van"})
"""Names of classes that a car may be found as; to find a motorcycle is not to find the car."""

_SHOWN: Final = 10


def vehicle_labels(classes: Sequence[str], *, model: str, pointer: str) -> tuple[int, ...]:
    """Numbers of the classes that are vehicles, at least one.

    Args:
        classes: names in the order of the scores.
        model: how the detector is called.
        pointer: the field to blame.

    Raises:
        UnprocessableContent: there is none.
    """
    labels = tuple(label for label, name in enumerate(classes) if is_vehicle(name))
    if not labels:
        known = ", ".join(classes[:_SHOWN]) + ", ..." * (len(classes) > _SHOWN)
        wanted = ", ".join(sorted(VEHICLES))
        raise field_problem(pointer, f"{model} finds {known}, and none of {wanted}: it has no car to lose.")
    return labels


def is_vehicle(name: str) -> bool:
    """Whether a class of this name is one of vehicles."""
    return name.strip().lower() in VEHICLES
