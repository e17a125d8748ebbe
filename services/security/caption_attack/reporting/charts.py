"""Pictures of a report: successes against queries, what was changed, where the captioner looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.pictures.distances import difference_picture
from services.security.caption_attack.reporting.report import ArmView
from services.security.caption_attack.searching.candidates import upsample_attention
from shared.imaging.charts import Curve, Plot
from shared.imaging.pictures import encode_png

_COLOURS: Final = ("#c0392b", "#3b76af", "#2e8b57", "#8e5ea2", "#d98e04", "#555555", "#17a2b8", "#b5651d")
_GLOW: Final = np.array([255.0, 160.0, 0.0])
_SHADE: Final = 0.35


def curve_chart(arms: Sequence[ArmView], *, goal: str, queries: int) -> Plot:
    """Share of runs at the goal against queries, a line for each search.

    Args:
        arms: at least one.
        goal: of the attack.
        queries: of a run.
    """
    curves = [
        Curve(
            [(0.0, 0.0), *((float(after), 100 * share) for after, share in arm.success_curve)],
            colour=_COLOURS[index % len(_COLOURS)],
            dashed=index >= len(_COLOURS),
        )
        for index, arm in enumerate(arms)
    ]
    named = [(f"{arm.arm}: {arm.title}", curve) for arm, curve in zip(arms, curves, strict=True)]
    return Plot(
        title=f"Runs that reached the goal {goal}",
        x_label="queries of a run",
        y_label="share of runs, %",
        x_range=(0, max(1, queries)),
        y_range=(0, 100),
        curves=curves,
        legend=named,
    )


def attention_picture(picture: NDArray[np.uint8], maps: NDArray[np.float64] | None) -> NDArray[np.uint8] | None:
    """A picture, dark where the captioner does not look and warm where it does, over all words; None without attention.

    Args:
        picture: (h, w, 3) uint8.
        maps: (words, rows, columns).
    """
    words = upsample_attention(maps, picture.shape[:2])
    if words is None:
        return None
    total = words.sum(axis=0)
    shares = (total / total.max())[:, :, None]
    shaded = picture * (_SHADE + (1 - _SHADE) * shares)
    warm: NDArray[np.uint8] = np.rint(shaded + 0.4 * shares * (_GLOW - shaded)).astype(np.uint8)
    return warm


def compare_side_by_side(clean: NDArray[np.uint8], changed: NDArray[np.uint8]) -> bytes:
    """PNG of the clean picture, the changed one, and what they differ by."""
    gap = np.full((clean.shape[0], 4, 3), 255, np.uint8)
    return encode_png(np.concatenate([clean, gap, changed, gap, difference_picture(clean, changed)], axis=1))
