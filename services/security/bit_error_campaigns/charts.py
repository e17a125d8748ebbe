"""The pictures of a report: the curve, the most fragile layers, the most fragile bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from services.security.bit_error_campaigns.report import BitLoss, CurvePoint, LayerLoss, SpreadView
from shared.imaging.charts import Curve, Plot, Ribbon, Row, RowChart, Whisker

MOST_LAYERS: Final = 25
"""In a chart; the report has all of them."""

_STORED: Final = "#555555"
_MEAN: Final = "#c0392b"


def curve_chart(points: Sequence[CurvePoint], *, stored: float, title: str) -> Plot:
    """Accuracy in percent against the bit error rate, on a logarithmic axis.

    Args:
        points: ascending rates, at least one.
        stored: accuracy without faults.
        title: of the chart.
    """
    xs = [math.log10(point.rate) for point in points]
    means = [100 * point.accuracy.mean for point in points]
    low, high = min(xs) - 0.1, max(xs) + 0.1
    lows, highs = [100 * _low(point.accuracy) for point in points], [100 * _high(point.accuracy) for point in points]
    without = Curve([(low, 100 * stored), (high, 100 * stored)], colour=_STORED, dashed=True)
    mean = Curve([*zip(xs, means, strict=True)], colour=_MEAN)
    seeds = max(len(point.accuracy.by_seed) for point in points)
    return Plot(
        title=title,
        x_label="bit error rate: share of faulty cells, %",
        y_label="accuracy, %",
        x_range=(low, high),
        y_range=(0, 100),
        ribbons=[Ribbon(xs, lows, highs)] if len(xs) > 1 else [],
        curves=[without, mean],
        whiskers=[Whisker(x, *ends) for x, *ends in zip(xs, lows, highs, strict=True)],
        dots=[*zip(xs, means, strict=True)],
        x_ticks=[*_ticks(low, high)],
        legend=[
            (f"mean of {seeds} chips, with its 95 % interval" if seeds > 1 else "one chip", mean),
            (f"no faults: {100 * stored:.1f} %", without),
        ],
    )


def layers_chart(layers: Sequence[LayerLoss], *, rate: float) -> RowChart:
    """Points lost by the most fragile layers."""
    shown = layers[:MOST_LAYERS]
    more = f" ({len(shown)} of {len(layers)})" if len(layers) > len(shown) else ""
    rows = [_row(one.layer, one.lost_points, one.accuracy) for one in shown]
    return _row_chart(
        f"Faults in one layer alone, at a rate of {100 * rate:g} %{more}", rows, chips=_chips(layers[0].accuracy)
    )


def bits_chart(bits: Sequence[BitLoss], *, rate: float) -> RowChart:
    """Points lost by position, from the sign down."""
    ordered = sorted(bits, key=lambda one: -one.bit)
    rows = [_row(bit_name(one.bit), one.lost_points, one.accuracy) for one in ordered]
    return _row_chart(
        f"Faults in one bit position alone, at a rate of {100 * rate:g} %", rows, chips=_chips(bits[0].accuracy)
    )


def bit_name(bit: int) -> str:
    """For people."""
    special = {7: "bit 7 (sign)", 0: "bit 0 (lowest)"}
    return special.get(bit, f"bit {bit}")


def _row(name: str, lost: float, accuracy: SpreadView) -> Row:
    """A bar, with what was lost by the chips that lost the least and the most."""
    if len(accuracy.by_seed) < 2:
        return Row(name, lost)
    baseline = lost + 100 * accuracy.mean
    return Row(name, lost, baseline - 100 * accuracy.most, baseline - 100 * accuracy.least)


def _row_chart(title: str, rows: Sequence[Row], *, chips: int) -> RowChart:
    values = [value for row in rows for value in (row.value, row.low, row.high) if value is not None]
    spread = f" (bar: mean of {chips} chips, line: least to most)" if chips > 1 else ""
    return RowChart(title, f"accuracy lost, percentage points{spread}", rows, (min(0.0, *values), max(1.0, *values)))


def _chips(accuracy: SpreadView) -> int:
    return len(accuracy.by_seed)


def _low(accuracy: SpreadView) -> float:
    return accuracy.mean if accuracy.low is None else accuracy.low


def _high(accuracy: SpreadView) -> float:
    return accuracy.mean if accuracy.high is None else accuracy.high


def _ticks(low: float, high: float) -> Iterator[tuple[float, str]]:
    """1, 2 and 5 of each decade, in percent; whole decades only where there are many."""
    factors = (1, 2, 5) if high - low <= 3.5 else (1,)
    for decade in range(math.floor(low) - 1, math.ceil(high) + 1):
        for factor in factors:
            place = decade + math.log10(factor)
            if low <= place <= high:
                yield place, f"{100 * factor * 10.0**decade:.6g}"
