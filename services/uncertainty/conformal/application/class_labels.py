"""What classes are called: names that a caller gives, or the labels of training items; and labels read by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import check_count, check_labels, check_whole_numbers
from shared.problems import field_problem

CLASS_NAMES: Final = "class_names"
ClassLabels = list[int] | list[str]


def read_class_names(source: NamedArrays, *, classes: int) -> list[str] | None:
    """Read the names of the classes in the order of the columns; None if there are none.

    Raises:
        UnprocessableContent: another number of names than of columns, or the same name twice.
    """
    names = source.read_texts(CLASS_NAMES)
    if names is None:
        return None
    pointer = f"/body/{CLASS_NAMES}"
    if len(names) != classes:
        raise field_problem(pointer, f"There are {len(names)} names for {classes} classes.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise field_problem(pointer, f"The name {twice[:60]!r} is there twice.")
    return names


def read_labels(source: NamedArrays, *, count: int, classes: int, called: ClassLabels | None) -> NDArray[np.int64]:
    """Read the class of each item, 0 to K - 1, (count,).

    Args:
        source: of the labels.
        count: number of items.
        classes: K.
        called: names of the classes, by which labels are looked up if any label is one; or the labels that training
            items have, by which they are always looked up.

    Raises:
        UnprocessableContent: a label that is no class; the detail says which.
    """
    if called is None:
        labels = source.require_numbers("labels", count=count)
        return check_labels(labels, "/body/labels", count=count, classes=classes)
    texts = source.read_texts("labels", count=count)
    if texts is None:
        source.require_numbers("labels")
        return np.empty(0, np.int64)
    check_count(np.empty(len(texts)), "/body/labels", count)
    places = {str(one): index for index, one in enumerate(called)}
    wholes = [_whole(text) if text not in places else text for text in texts]
    missing = [index for index, text in enumerate(wholes) if text not in places]
    if len(missing) == len(texts) and isinstance(called[0], str):
        numbers = check_whole_numbers(source.require_numbers("labels", count=count), "/body/labels")
        return check_labels(numbers, "/body/labels", count=count, classes=classes)
    if missing:
        shown = ", ".join(str(one) for one in called[:5]) + (", ..." if len(called) > 5 else "")
        detail = f"Label {texts[missing[0]][:60]!r} of item {missing[0]} is none of the classes: {shown}."
        raise field_problem("/body/labels", detail)
    return np.array([places[text] for text in wholes], np.int64)


def call_classes(labels: NDArray[np.int64]) -> tuple[list[int] | None, NDArray[np.int64]]:
    """The different labels of training items, None if they are 0 to K - 1, and each item's place among them."""
    ids, places = np.unique(labels, return_inverse=True)
    contiguous = bool((ids == np.arange(len(ids))).all())
    return None if contiguous else ids.tolist(), places.astype(np.int64)


def name_labels(called: ClassLabels | None, chosen: Sequence[int]) -> dict[str, list[int] | list[str]]:
    """Fields `labels` and `names` of a set of columns."""
    if called is None:
        return {"labels": list(chosen)}
    if isinstance(called[0], str):
        return {"labels": list(chosen), "names": [str(called[index]) for index in chosen]}
    return {"labels": [int(called[index]) for index in chosen]}


def _whole(text: str) -> str:
    """A whole number that was written as a float, as one."""
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text
