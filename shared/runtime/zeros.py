"""Inputs of nothing, to run a model for the first time with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def zeros(shape: Sequence[int | str], dtype: str, *, size: int, sizes: Mapping[str, int] | None = None) -> NDArray[Any]:
    """An array of zeros, or of empty texts.

    Args:
        shape: of a card; a name stands for any size, and `batch` for one row.
        dtype: of a card.
        size: for named axes.
        sizes: for some of them by name, instead.
    """
    known = {"batch": 1, **(sizes or {})}
    sides = [side if isinstance(side, int) else known.get(side, size) for side in shape]
    return np.full(sides, "", dtype=object) if dtype == "string" else np.zeros(sides, dtype)
