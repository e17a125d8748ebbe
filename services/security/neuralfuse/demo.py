"""A picture to try predictions with: drawn, no photograph."""

from __future__ import annotations

from shared.imaging.drawn_signs import CUT_OUT


def stop_sign() -> bytes:
    """PNG of a stop sign, cut out as the benchmark's are."""
    return CUT_OUT.png()
