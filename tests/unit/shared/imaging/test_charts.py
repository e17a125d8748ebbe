"""Plots: shapes where the numbers are, in both formats, whatever the ranges."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from shared.imaging.charts import (
    WIDTH,
    Bar,
    Curve,
    Plot,
    Ribbon,
    Row,
    RowChart,
    Whisker,
    ticks,
    to_png,
    to_svg,
    widen_range,
)

SVG = "{http://www.w3.org/2000/svg}"
FINITE = st.floats(-1e100, 1e100)


def plot(**changes: object) -> Plot:
    content: dict[str, object] = {
        "title": "a < b & c", "x_label": "x", "y_label": "y", "x_range": (0.0, 10.0), "y_range": (0.0, 4.0),
        "bars": [Bar(0, 5, 4), Bar(5, 10, 1)],
    }  # fmt: skip
    return Plot(**(content | changes))  # type: ignore[arg-type]


def test_bars_lie_where_their_numbers_are() -> None:
    root = ET.fromstring(to_svg(plot()))
    assert root.findtext(f"{SVG}title") == "a < b & c"
    tall, short = (
        [[float(one) for one in pair.split(",")] for pair in bar.attrib["points"].split()]
        for bar in root.iter(f"{SVG}polygon")
    )
    assert tall[1][0] == pytest.approx(short[0][0]), "they touch"
    heights = [bar[2][1] - bar[0][1] for bar in (tall, short)]
    assert heights[0] == pytest.approx(4 * heights[1], rel=0.01)


def test_both_formats_show_the_same() -> None:
    drawn = plot(ribbons=[Ribbon([0, 10], [1, 1], [2, 2])], bars=[], dots=[(5, 3)])
    image = np.asarray(Image.open(io.BytesIO(to_png(drawn))))
    (area,) = ET.fromstring(to_svg(drawn)).iter(f"{SVG}polygon")
    corners = np.array([[float(one) for one in pair.split(",")] for pair in area.attrib["points"].split()])
    rows, columns = np.nonzero((image == (0xC6, 0xD9, 0xEC)).all(axis=2))
    assert [columns.min() / 2, columns.max() / 2] == pytest.approx([corners[:, 0].min(), corners[:, 0].max()], abs=2)
    assert [rows.min() / 2, rows.max() / 2] == pytest.approx([corners[:, 1].min(), corners[:, 1].max()], abs=2)


def test_a_gap_breaks_a_curve() -> None:
    broken = plot(curves=[Curve([(0, 1), (1, 1), None, (2, 1), (3, 1)])])
    whole = plot(curves=[Curve([(0, 1), (1, 1), (2, 1), (3, 1)])])
    lines = [len(list(ET.fromstring(to_svg(one)).iter(f"{SVG}polyline"))) for one in (broken, whole)]
    assert lines[0] == lines[1] + 1


@example(1.1754943508222875e-38, 1.175494351e-38)
@example(0.0, 5e-324)
@example(0.0, 1e-30)
@given(FINITE, FINITE)
def test_ticks_are_few_and_inside(one: float, other: float) -> None:
    low, high = widen_range(min(one, other), max(one, other))
    found = ticks(low, high)
    assert len(found) <= 9
    slack = 1e-6 * max(abs(low), abs(high), high - low)
    assert all(low - slack <= value <= high + slack for value in found)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e100, 1e-100])
def test_a_range_without_width_can_be_drawn(value: float) -> None:
    drawn = plot(x_range=(value, value), y_range=(value, value), bars=[], dots=[(value, value)])
    assert to_png(drawn).startswith(b"\x89PNG")
    (dot,) = ET.fromstring(to_svg(drawn)).iter(f"{SVG}circle")
    assert math.isfinite(float(dot.attrib["cx"]))


ROWS = RowChart("Rows", "points", [Row("a & b", 3.0, 1.0, 4.0), Row("x" * 60, -1.0)], (-1.0, 4.0))


def test_rows_have_names_values_and_intervals() -> None:
    text = to_svg(ROWS).decode()
    assert "a &amp; b" in text
    assert "..." + "x" * 35 in text, "a long name keeps its end"
    assert text.count("<polygon") == 2
    assert f'height="{ROWS.height}"' in text


def test_rows_are_painted_as_high_as_they_are_many() -> None:
    image = Image.open(io.BytesIO(to_png(ROWS)))
    assert image.size == (2 * WIDTH, 2 * ROWS.height)
    many = RowChart("Rows", "points", [*ROWS.rows] * 10, (-1.0, 4.0))
    assert many.height > ROWS.height + 300


def test_own_ticks_whiskers_and_a_legend_are_drawn() -> None:
    curve = Curve([(0.0, 1.0), (1.0, 2.0)])
    plot = Plot("t", "x", "y", (0, 1), (0, 3), curves=[curve], whiskers=[Whisker(0.5, 1.0, 2.0)],
                x_ticks=[(0.5, "one half")], legend=[("the mean", curve)])  # fmt: skip
    text = to_svg(plot).decode()
    assert ">one half</text>" in text
    assert ">the mean</text>" in text
    assert text.count("<polyline") == to_svg(Plot("t", "x", "y", (0, 1), (0, 3))).decode().count("<polyline") + 3
