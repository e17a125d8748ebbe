"""Findings of a comparison with another library: a quantity, how far the two differ, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.uncertainty.conformal.methods.randomness import Purpose, uniforms

TORCHCP = "TorchCP 1.2.1"

EQUAL = 1e-12
"""Largest difference that is called equal."""

ALPHAS = (0.01, 0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Material:
    """Logits that all libraries get, in float64.

    Attributes:
        logits: of calibration items, (n, K).
        labels: of calibration items, (n,).
        tests: logits of test items, (m, K).
        test_labels: of test items, (m,).
        numbers: random numbers of calibration items, (n,).
        test_numbers: random numbers of test items, (m,).
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    tests: NDArray[np.float64]
    test_labels: NDArray[np.int64]
    numbers: NDArray[np.float64]
    test_numbers: NDArray[np.float64]

    @classmethod
    def drawn(cls, *, count: int = 2000, tests: int = 300, classes: int = 20, seed: int = 0) -> Material:
        """A classifier that is right in about two thirds of the cases; no two logits of an item are equal."""
        random = np.random.default_rng(seed)
        labels = random.integers(0, classes, count + tests)
        logits = random.normal(size=(count + tests, classes))
        logits[np.arange(count + tests), labels] += random.exponential(2.5, count + tests)
        numbers = uniforms(seed, np.arange(count + tests), Purpose.CALIBRATION)
        return cls(logits[:count], labels[:count], logits[count:], labels[count:], numbers[:count], numbers[count:])


@dataclass(frozen=True, slots=True)
class Finding:
    """One quantity compared.

    Attributes:
        library: the other one, with its version.
        quantity: what was compared.
        difference: largest difference, relative where numbers are beyond 1, or share of set members that differ; None
            where the other one fails.
        note: why it differs, empty where it does not.
    """

    library: str
    quantity: str
    difference: float | None
    note: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether the difference is at most `EQUAL`."""
        return self.difference is not None and self.difference <= EQUAL


def tensor(values: NDArray[Any]) -> Tensor:
    """A copy for torch, since some of TorchCP's scores write into what they are given."""
    return torch.from_numpy(values.copy())


def difference(ours: Any, theirs: Any) -> float:
    """Largest difference, relative to theirs where that is beyond 1; equal infinities do not differ."""
    left, right = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if left.shape != right.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        gaps = np.where(left == right, 0.0, np.abs(left - right) / np.maximum(1, np.abs(right)))
    return float(gaps.max(initial=0.0))


def share_of_other_members(ours: NDArray[np.bool_], theirs: Any) -> float:
    """Share of (item, label) pairs that are in one set and not in the other."""
    return float((ours != np.asarray(theirs, np.bool_)).mean())


def attempt(library: str, quantity: str, compare: Callable[[], float], note: str = "") -> Finding:
    """Compare, or say with which error the other library fails."""
    try:
        return Finding(library, quantity, compare(), note)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
        return Finding(library, quantity, None, note or f"{type(error).__name__}: {error}")
