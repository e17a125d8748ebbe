"""A set of annotated pictures with the classes of a detector: what it calls them, and what it does not know at all."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.annotations.model import SHOWN, AnnotatedPicture, AnnotatedSet, find_classes
from shared.problems import field_problem


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSet:
    """Annotated pictures with the labels of a detector.

    Attributes:
        annotated: the pictures with the objects whose class the detector knows; its labels are the detector's.
        used: name of the detector's class by name of the set's, of those that the detector knows.
        unknown: objects that were left out, by name of their class.
    """

    annotated: AnnotatedSet
    used: Mapping[str, str]
    unknown: Mapping[str, int]

    @property
    def unknown_share(self) -> float:
        """Of all objects, those whose class the detector does not know; 0 where there are none."""
        left_out = sum(self.unknown.values())
        return left_out / max(1, left_out + self.annotated.box_count)


def align_classes(
    annotated: AnnotatedSet,
    class_names: Sequence[str],
    *,
    mapping: Mapping[str, str],
    pointer: str,
    mapping_pointer: str,
) -> AlignedSet:
    """Give a set the labels of a detector, and leave out what the detector does not know.

    Args:
        annotated: as it was read.
        class_names: of the detector, by its labels.
        mapping: name of the detector's class by name of the set's, where the two differ.
        pointer: the field to blame for the set.
        mapping_pointer: the field to blame for the mapping.

    Raises:
        UnprocessableContent: the mapping names a class that is not there, or there is nothing to be found.
    """
    _require_names(mapping, annotated.class_names, class_names, mapping_pointer)
    renamed = tuple(mapping.get(name, name) for name in annotated.class_names)
    labels = find_classes(renamed, class_names)
    pictures = {name: _known(one, labels) for name, one in annotated.pictures.items()}
    counts = _count(annotated)
    known = AnnotatedSet(pictures, renamed, annotated.category_ids, annotated.faults)
    if not known.box_count:
        raise field_problem(pointer, _nothing_to_find(annotated, class_names))
    return AlignedSet(
        annotated=known.with_classes(class_names, pointer=pointer),
        used={
            name: class_names[label] for name, label in zip(annotated.class_names, labels, strict=True) if label >= 0
        },
        unknown={
            name: int(count)
            for name, label, count in zip(annotated.class_names, labels, counts, strict=True)
            if label < 0 and count
        },
    )


def _known(picture: AnnotatedPicture, labels: NDArray[np.int64]) -> AnnotatedPicture:
    """A picture with the objects whose class has a label."""
    kept = labels[picture.labels] >= 0
    return replace(
        picture,
        boxes=picture.boxes[kept],
        labels=picture.labels[kept],
        areas=picture.areas[kept],
        crowd=picture.crowd[kept],
        difficult=picture.difficult[kept],
    )


def _count(annotated: AnnotatedSet) -> NDArray[np.int64]:
    counts = np.zeros(len(annotated.class_names), np.int64)
    for picture in annotated.pictures.values():
        np.add.at(counts, picture.labels, 1)
    return counts


def _require_names(mapping: Mapping[str, str], theirs: Sequence[str], class_names: Sequence[str], pointer: str) -> None:
    for name, to in mapping.items():
        for one, known, whose in ((name, theirs, "set"), (to, class_names, "detector")):
            if one not in known:
                close = difflib.get_close_matches(one, known, n=1)
                hint = f" Is {close[0][:SHOWN]!r} meant?" if close else f" It has {_listed(known)}."
                raise field_problem(pointer, f"The {whose} has no class {one[:SHOWN]!r}.{hint}")


def _nothing_to_find(annotated: AnnotatedSet, class_names: Sequence[str]) -> str:
    if not annotated.box_count:
        return "There are no boxes that a detector could be measured with."
    return (
        f"No object is of a class that the detector knows: the set has {_listed(annotated.class_names)}, the detector "
        f"{_listed(class_names)}. Say by class_mapping which is which."
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:SHOWN]) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
