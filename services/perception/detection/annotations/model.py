"""Pictures with the boxes that people drew on them, whatever format they came in."""

from __future__ import annotations

import difflib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.detectors.roles import LONGEST_CLASS_NAME, MOST_CLASSES
from shared.problems import ContentTooLarge, FieldError, UnprocessableContent, field_problem

MOST_PICTURES: Final = 20_000
SHOWN: Final = 60
"""Characters of a caller's text that are repeated in a problem."""

ImageId = int | str
"""Of a picture in a COCO data set: a whole number there, and text in some tools' files."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedPicture:
    """One picture and what is on it.

    Attributes:
        name: of the picture in its archive, or what COCO calls file_name where there is no archive.
        image_id: in COCO; counted from 1 in other formats.
        width: in pixels, upright.
        height: in pixels, upright.
        boxes: float64 (N, 4), left, top, right and bottom edge in pixels, half-open, within the picture.
        labels: int64 (N,), numbers of classes from 0.
        areas: float64 (N,), in square pixels, of the object where COCO states it and of the box otherwise: COCO calls
            objects small, medium or large by it.
        crowd: bool (N,), whether a box stands for several objects (COCO's iscrowd).
        difficult: bool (N,), whether Pascal VOC leaves an object out of its measure.
    """

    name: str
    image_id: ImageId
    width: int
    height: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BoxFault:
    """What was wrong with a box.

    Attributes:
        place: file and line, or file and number.
        detail: what is wrong.
        outcome: whether the box was cut off at the picture's edges or left out.
    """

    place: str
    detail: str
    outcome: Literal["clipped", "refused"]


@dataclass(frozen=True, slots=True)
class BoxFaults:
    """Faults of all boxes of a set.

    Attributes:
        clipped: boxes that reached beyond their picture and were cut off at its edges.
        refused: boxes that were left out.
        shown: the first of them.
    """

    clipped: int = 0
    refused: int = 0
    shown: tuple[BoxFault, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedSet:
    """Annotated pictures of one set of classes.

    Attributes:
        pictures: by name.
        class_names: by label.
        category_ids: what COCO calls a class, by label; from 1 in other formats.
        faults: boxes that were cut off or left out.
    """

    pictures: Mapping[str, AnnotatedPicture]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    faults: BoxFaults

    @property
    def box_count(self) -> int:
        """Boxes of all pictures."""
        return sum(len(picture.boxes) for picture in self.pictures.values())

    def with_classes(self, class_names: Sequence[str], *, pointer: str) -> AnnotatedSet:
        """The same with the labels of a detector.

        Args:
            class_names: of the detector, by its labels. Spaces around names make no difference, and capitals only where
                a name would be two of the detector's without them.
            pointer: the field to blame.

        Returns:
            Category ids are those of the set, and next free numbers for classes that only the detector has.

        Raises:
            UnprocessableContent: pictures show a class that the detector does not know.
        """
        labels = find_classes(self.class_names, class_names)
        used = np.unique(np.concatenate([[], *(one.labels for one in self.pictures.values())]).astype(np.int64))
        for label in used[labels[used] < 0].tolist():
            raise _unknown_class(self.class_names[label], class_names, pointer)
        pictures = {name: replace(one, labels=labels[one.labels]) for name, one in self.pictures.items()}
        return AnnotatedSet(pictures, tuple(class_names), self._category_ids(labels, len(class_names)), self.faults)

    def _category_ids(self, labels: NDArray[np.int64], classes: int) -> tuple[int, ...]:
        """Ids by the new labels; of two that became one class, the first."""
        known: dict[int, int] = {}
        for label, number in zip(labels.tolist(), self.category_ids, strict=True):
            known.setdefault(label, number)
        following = itertools.count(max(self.category_ids, default=0) + 1)
        return tuple(known[label] if label in known else next(following) for label in range(classes))


def check_class_names(names: Sequence[str], *, place: str, pointer: str) -> tuple[str, ...]:
    """Names of classes as they are used: without spaces around them, none empty, each once.

    Raises:
        UnprocessableContent, ContentTooLarge: they are not like that, or too many or too long.
    """
    stripped = tuple(name.strip() for name in names)
    if not stripped:
        raise field_problem(pointer, f"{place} names no classes.")
    if len(stripped) > MOST_CLASSES:
        raise too_large(pointer, f"{place} names {len(stripped)} classes; at most {MOST_CLASSES} are accepted.")
    seen: set[str] = set()
    for name in stripped:
        if not name or len(name) > LONGEST_CLASS_NAME:
            raise field_problem(pointer, f"{place} has a class name of {len(name)} characters; 1 to 200 are accepted.")
        if name in seen:
            raise field_problem(pointer, f"{place} names the class {name[:SHOWN]!r} twice.")
        seen.add(name)
    return stripped


def require_few_pictures(count: int, *, place: str, pointer: str) -> None:
    """Raise ContentTooLarge for more pictures than are accepted."""
    if count > MOST_PICTURES:
        raise too_large(pointer, f"{place} has {count} pictures; at most {MOST_PICTURES} are accepted.")


def too_large(pointer: str, detail: str) -> ContentTooLarge:
    """A 413 about a single field."""
    return ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def find_classes(names: Sequence[str], class_names: Sequence[str]) -> NDArray[np.int64]:
    """The label of each name among `class_names`, int64; -1 where there is none.

    Spaces around names make no difference, and capitals only where a name would be two of the others without them.
    """
    exact = {name.strip(): label for label, name in enumerate(class_names)}
    alike: dict[str, list[int]] = defaultdict(list)
    for name, label in exact.items():
        alike[name.casefold()].append(label)
    labels = []
    for name in map(str.strip, names):
        found = alike.get(name.casefold(), [])
        labels.append(exact.get(name, found[0] if len(found) == 1 else -1))
    return np.array(labels, np.int64)


def _unknown_class(name: str, class_names: Sequence[str], pointer: str) -> UnprocessableContent:
    close = difflib.get_close_matches(name, class_names, n=1)
    hint = f" Is {close[0][:SHOWN]!r} meant?" if close else f" It knows {_listed(class_names)}."
    return field_problem(pointer, f"Pictures show {name[:SHOWN]!r}, a class that the detector does not know.{hint}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:SHOWN]) for name in names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")
