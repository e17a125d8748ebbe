"""What is between a generator and the classifier behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seam:
    """How the classifier wants what the generator gives.

    Attributes:
        height: rows of the pictures.
        width: columns of them.
        scale: factor for each channel, and `shift`, added after; None where pictures in [0, 1] are taken as they are.
        shift: see `scale`.
    """

    height: int
    width: int
    scale: Sequence[float] | None = None
    shift: Sequence[float] | None = None
