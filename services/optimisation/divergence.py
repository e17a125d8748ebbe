"""The end of an optimisation that came to nothing, with a reason instead of a useless result."""

from __future__ import annotations

import math


class Diverged(Exception):
    """An optimisation was stopped; the message says why and what to change."""


def require_finite(loss: float) -> None:
    """Go on only with a number.

    Raises:
        Diverged: the loss is infinite or no number.
    """
    if not math.isfinite(loss):
        raise Diverged("The loss is not finite. Lower the learning rate.")
