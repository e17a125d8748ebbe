"""Cells and tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from services.security.camouflage.reporting.report import THRESHOLDS

Figures = Mapping[str, Any]

HEADS: Final = (f"rate, {THRESHOLDS[0]}", f"rate, {THRESHOLDS[1]}", "AP50", "mean score", "lost")
"""What `columns` and `ranges` show."""


def columns(figures: Figures) -> list[str]:
    """One texture's figures, in the order of `HEADS`."""
    low, high = (figures[f"{threshold:g}"] for threshold in THRESHOLDS)
    return [
        span(low["detection_rate"]),
        span(high["detection_rate"]),
        span(low["ap50"]),
        f"{low['mean_score']['value']:.3f}",
        span(high["attack_success"]),
    ]


def ranges(several: Sequence[Figures]) -> list[str]:
    """Mean and range of several textures, in the order of `HEADS`."""
    low, high = ([one[f"{threshold:g}"] for one in several] for threshold in THRESHOLDS)
    columns = [
        [one["detection_rate"] for one in low],
        [one["detection_rate"] for one in high],
        [one["ap50"] for one in low],
        [one["mean_score"] for one in low],
        [one["attack_success"] for one in high],
    ]
    return [shown_range([one["value"] for one in column if one is not None]) for column in columns]


def shown_range(values: Sequence[float]) -> str:
    """Mean and range of values, or a dash."""
    return f"{np.mean(values):.3f} [{min(values):.3f} to {max(values):.3f}]" if values else "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def span(one: Figures | None) -> str:
    """A value with its interval, or a dash."""
    if one is None or one["value"] is None:
        return "-"
    interval = one["interval"]
    return f"{one['value']:.3f}" + ("" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})")
