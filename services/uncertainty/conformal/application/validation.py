"""Validation of arrays, with the index of the first fault; block by block: large mapped files are not copied."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.problems import field_problem

SUM_TOLERANCE: Final = 1e-3
"""Largest accepted |sum - 1| of a row of probabilities."""

_BLOCK: Final = 262_144

LARGEST: Final = 1e100
"""Values are at most this large, and positive ones at least one over it: neither squares nor ratios overflow."""

TESTED_LIMIT: Final = 20_000
"""Most test items of a request whose cost grows with calibration times test items, times binary questions."""

Numbers = NDArray[Any]


def check_finite(array: Numbers, pointer: str) -> None:
    """Refuse NaN and infinite values, and those too large to compute with.

    Raises:
        UnprocessableContent: there is one; the detail has its index.
    """
    if array.dtype.kind != "f":
        return
    for start in _starts(array):
        rows = array[start : start + _step(array)]
        # Only numbers of 64 bits can be larger, and only they can be compared with it.
        wrong = ~(np.abs(rows) <= LARGEST) if array.dtype.itemsize == 8 else ~np.isfinite(rows)
        if wrong.any():
            first = np.argwhere(wrong)[0]
            index = [int(first[0]) + start, *(int(one) for one in first[1:])]
            raise field_problem(pointer, f"A value is NaN, infinite or beyond 1e100; the first is at index {index}.")


def check_scores(array: Numbers, pointer: str, *, probabilities: bool) -> NDArray[np.floating[Any]]:
    """Convert logits or probabilities (N, K) to floats.

    Raises:
        UnprocessableContent: fewer than two classes, a value that is not finite, or no probabilities where they are
            said to be.
    """
    if array.shape[1] < 2:
        raise field_problem(pointer, f"There is {array.shape[1]} class; two or more are needed.")
    check_finite(array, pointer)
    values = array if array.dtype.kind == "f" else array.astype(np.float64)
    if probabilities:
        _check_probabilities(values, pointer)
    return values


def _check_probabilities(values: Numbers, pointer: str) -> None:
    for start in _starts(values):
        rows = values[start : start + _step(values)]
        if (rows < 0).any():
            index = int(np.argmax((rows < 0).any(axis=1))) + start
            raise field_problem(pointer, f"Row {index} has a negative value. Post logits under the name logits.")
        sums = rows.sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1) > SUM_TOLERANCE
        if wrong.any():
            index = int(np.argmax(wrong))
            detail = (
                f"Row {index + start} adds up to {sums[index]:.6g}, not to 1 within {SUM_TOLERANCE}. "
                "Post logits under the name logits."
            )
            raise field_problem(pointer, detail)


def check_labels(array: Numbers, pointer: str, *, count: int, classes: int) -> NDArray[np.int64]:
    """Convert labels (N,) to integers of 0..K-1; whole numbers in floats will do.

    Raises:
        UnprocessableContent: another number of them, no whole numbers, or outside.
    """
    check_count(array, pointer, count)
    labels = check_whole_numbers(array, pointer)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        index = int(np.argmax(outside))
        raise field_problem(pointer, f"Label {labels[index]} of item {index} lies outside of 0..{classes - 1}.")
    return labels


def check_whole_numbers(array: Numbers, pointer: str) -> NDArray[np.int64]:
    """Convert whole numbers, which floats may hold, to integers.

    Raises:
        UnprocessableContent: a number is not whole.
    """
    check_finite(array, pointer)
    numbers = array.astype(np.int64)
    if (numbers != array).any():
        index = int(np.argmax(numbers != array))
        raise field_problem(pointer, f"Whole numbers are needed; item {index} has {array[index]}.")
    return numbers


def check_weights(array: Numbers, pointer: str, *, count: int) -> NDArray[np.float64]:
    """Convert weights (N,), finite, not negative and not all 0, to float64.

    Raises:
        UnprocessableContent: they are not.
    """
    check_count(array, pointer, count)
    check_finite(array, pointer)
    wrong = (array < 0) | ((array > 0) & (array < 1 / LARGEST))
    if wrong.any():
        index = int(np.argmax(wrong))
        raise field_problem(pointer, f"Weights are 0 or more, and 1e-100 at least; item {index} has {array[index]}.")
    if not array.any():
        raise field_problem(pointer, "All weights are 0: they say nothing of any item.")
    return array.astype(np.float64)


def check_values(array: Numbers, pointer: str, *, count: int | None = None) -> NDArray[np.float64]:
    """Convert finite numbers (N,) to float64.

    Raises:
        UnprocessableContent: another number of them, or not finite.
    """
    if count is not None:
        check_count(array, pointer, count)
    check_finite(array, pointer)
    return array.astype(np.float64)


def check_count(array: Numbers, pointer: str, count: int) -> None:
    """Refuse another number of items.

    Raises:
        UnprocessableContent: names both numbers.
    """
    if len(array) != count:
        raise field_problem(pointer, f"There are {len(array)} of these for {count} items.")


def check_test_count(count: int, pointer: str) -> None:
    """Refuse more test items, times binary questions, than `TESTED_LIMIT`.

    Raises:
        UnprocessableContent: says how many there are.
    """
    if count > TESTED_LIMIT:
        detail = f"That is {count} test items (times binary questions); at most {TESTED_LIMIT} are accepted."
        raise field_problem(pointer, detail)


def _step(array: Numbers) -> int:
    return max(1, _BLOCK // max(1, int(np.prod(array.shape[1:]))))


def _starts(array: Numbers) -> range:
    return range(0, len(array), _step(array))
