"""What classes are called: names of a caller or of a model, or labels of training items; and labels read by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import check_count, check_labels
from shared.problems import field_problem

CLASS_NAMES: Final = "class_names"
ClassLabels = list[int] | list[str]

_LABELS: Final = "/body/labels"
_SHOWN: Final = 5
_LONGEST: Final = 18
"""Most digits of a label that is a number."""


def read_class_names(source: NamedArrays, *, classes: int) -> list[str] | None:
    """Read the names of the classes in the order of the columns; None if there are none.

    Raises:
        UnprocessableContent: another number of names than of columns, or the same name twice.
    """
    names = source.read_texts(CLASS_NAMES)
    return None if names is None else check_class_names(names, classes=classes)


def check_class_names(names: list[str], *, classes: int) -> list[str]:
    """Return posted names of classes; problems as of `read_class_names`."""
    pointer = f"/body/{CLASS_NAMES}"
    if len(names) != classes:
        raise field_problem(pointer, f"There are {len(names)} names for {classes} classes.")
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
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
        return check_labels(labels, _LABELS, count=count, classes=classes)
    texts = source.read_texts("labels", count=count)
    if texts is None:
        source.require_numbers("labels")
        return np.empty(0, np.int64)
    check_count(np.empty(len(texts)), _LABELS, count)
    return find_classes(texts, classes=classes, called=called)


def find_classes(texts: Sequence[str], *, classes: int, called: ClassLabels | None) -> NDArray[np.int64]:
    """Find the class of each label, 0 to K - 1, (N,).

    Args:
        texts: labels (N,): names of classes; or numbers, from 0 where classes have names or none.
        classes: K.
        called: as of `read_labels`. Of names that several classes share none is found.

    Raises:
        UnprocessableContent: a label that is no class; the detail says which.
    """
    times = Counter(map(str, called or ()))
    places = {str(one): index for index, one in enumerate(called or ()) if times[str(one)] == 1}
    wholes = [text if text in places else _whole(text) for text in texts]
    missing = [index for index, text in enumerate(wholes) if text not in places]
    by_number = called is None or (len(missing) == len(wholes) and isinstance(called[0], str))
    if by_number and all(_is_number(text) for text in wholes):
        return check_labels(np.array(wholes, np.int64), _LABELS, count=len(wholes), classes=classes)
    if missing:
        first = missing[0]
        raise field_problem(_LABELS, f"Label {texts[first][:60]!r} of item {first} is {_no_class(called)}.")
    return np.array([places[text] for text in wholes], np.int64)


def convert_whole_numbers(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Convert texts (N,) to whole numbers; None if one of them is something else."""
    wholes = [_whole(text) for text in texts]
    return np.array(wholes, np.int64) if all(map(_is_number, wholes)) else None


def are_numbers(texts: Sequence[str]) -> bool:
    """Whether all labels are whole numbers from 0, which need no names."""
    return all(_is_number(_whole(text)) and not text.startswith("-") for text in texts)


def call_classes(labels: Sequence[str]) -> tuple[ClassLabels | None, NDArray[np.int64]]:
    """What the classes of training items are called, and the place of each item's class among them, (T,).

    Args:
        labels: of the training items, (T,): whole numbers, or any texts.

    Returns:
        Different labels in ascending order, as numbers where all are; None if they are 0 to K - 1.

    Raises:
        UnprocessableContent: a label is a number and not whole.
    """
    numbers = convert_whole_numbers(labels)
    if numbers is None:
        _refuse_fractions(labels)
        names, places = np.unique(np.array(labels, np.str_), return_inverse=True)
        return names.tolist(), places.astype(np.int64)
    ids, places = np.unique(numbers, return_inverse=True)
    contiguous = bool((ids == np.arange(len(ids))).all())
    return None if contiguous else ids.tolist(), places.astype(np.int64)


def list_names(called: ClassLabels | None) -> tuple[list[int] | None, list[str] | None]:
    """The numbers that stand for the columns, None for 0 to K - 1; and the names of the classes, None for none."""
    if called is None:
        return None, None
    names = [one for one in called if isinstance(one, str)]
    return (None, names) if names else ([int(one) for one in called], None)


def name_class(called: ClassLabels | None, index: int) -> str:
    """What a class is called in words."""
    return f"class {index if called is None else called[index]}"


def _no_class(called: ClassLabels | None) -> str:
    if called is None:
        return "no whole number. Labels that are texts need class_names, in the order of the columns"
    shown = ", ".join(str(one) for one in called[:_SHOWN]) + (", ..." if len(called) > _SHOWN else "")
    return f"none of the classes, or of several: {shown}"


def _refuse_fractions(labels: Sequence[str]) -> None:
    """Refuse labels that are numbers, but not whole: they are no names."""
    for index, label in enumerate(labels):
        with suppress(ValueError):
            if not float(label).is_integer():
                detail = f"Whole numbers or names are needed; item {index} has {label[:60]}."
                raise field_problem("/body/training_labels", detail)


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST


def _whole(text: str) -> str:
    """A whole number that was written as a float, as one."""
    return text[:-2] if text.endswith(".0") and _is_number(text[:-2]) else text
