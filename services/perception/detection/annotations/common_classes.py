"""The classes that several annotated sets have in common, by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.perception.detection.annotations.model import AnnotatedSet
from shared.problems import field_problem


def common_classes(sets: Sequence[AnnotatedSet], *, pointer: str) -> tuple[str, ...]:
    """The classes that have objects, in the order of the first set; classes without any are no matter.

    Args:
        sets: that are learned from together.
        pointer: of the field; the number of a set is added.

    Raises:
        UnprocessableContent: a set has objects of a class that another one does not label: there they would be learned
            as background. Or there are no objects at all.
    """
    used = [{_key(name): name for name in _used_classes(one)} for one in sets]
    first = used[0]
    if not first:
        raise field_problem(f"{pointer}/0", "No picture of this set has an object.")
    for number, own in enumerate(used[1:], start=1):
        for missing, place in ((first.keys() - own.keys(), number), (own.keys() - first.keys(), 0)):
            if missing:
                shown = ", ".join(sorted({**first, **own}[key] for key in missing)[:5])
                raise field_problem(
                    f"{pointer}/{place}",
                    f"This set labels no {shown}, and another source does: what one set leaves unlabelled would be "
                    "learned as background. Label the same classes in all sources, by the same names.",
                )
    return tuple(first.values())


def _used_classes(annotated: AnnotatedSet) -> list[str]:
    labels = [picture.labels for picture in annotated.pictures.values()]
    used = np.unique(np.concatenate([np.zeros(0, np.int64), *labels]))
    return [annotated.class_names[label] for label in used.tolist()]


def _key(name: str) -> str:
    return name.strip().casefold()
