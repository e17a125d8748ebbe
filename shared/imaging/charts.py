"""Charts without a plotting library: bars and lines on axes, or named rows, laid out once as shapes and then written as
SVG or PNG.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageFont

WIDTH: Final = 720
HEIGHT: Final = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 44, 56
_NAMES, _ROW, _THICKNESS = 270, 22, 14
_LONGEST_NAME = 38
_INK, _GRID, _FILL, _LINE, _BAND = "#222222", "#dddddd", "#3b76af", "#c0392b", "#c6d9ec"
_SCALE: Final = 2
"""A PNG has twice the pixels, for sharp text."""

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from `left` to `right` of a height, in the plot's own units."""

    left: float
    right: float
    height: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points; None breaks it."""

    points: Sequence[Point | None]
    colour: str = _LINE
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Ribbon:
    """The area between two lines at the same places."""

    xs: Sequence[float]
    lower: Sequence[float]
    upper: Sequence[float]


@dataclass(frozen=True, slots=True)
class Whisker:
    """A vertical line from `low` to `high`, such as an interval."""

    x: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: axes and what is on them, in the units of the data.

    Attributes:
        title, x_label, y_label: texts.
        x_range, y_range: what the axes show; an upper end above the lower.
        bars, ribbons, curves, dots, whiskers: what is on them.
        x_ticks: places on the first axis and what is written there; round numbers unless given.
        legend: lines of which is said what they are, in their colour.
    """

    title: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    bars: Sequence[Bar] = ()
    ribbons: Sequence[Ribbon] = ()
    curves: Sequence[Curve] = ()
    dots: Sequence[Point] = ()
    whiskers: Sequence[Whisker] = ()
    x_ticks: Sequence[tuple[float, str]] | None = None
    legend: Sequence[tuple[str, Curve]] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A horizontal bar with a name, and the interval of its value if there is one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class RowChart:
    """Horizontal bars, from the top down.

    Attributes:
        title, x_label: texts.
        rows: the bars.
        x_range: what the axis shows; bars begin at zero.
    """

    title: str
    x_label: str
    rows: Sequence[Row]
    x_range: tuple[float, float]

    @property
    def height(self) -> int:
        """In pixels of the SVG."""
        return _TOP + _BOTTOM + _ROW * len(self.rows)


Chart = Plot | RowChart


@dataclass(frozen=True, slots=True)
class _Shape:
    """One thing to draw, in pixels: a polygon, a line, a dot or a text."""

    kind: Literal["area", "line", "dot", "text"]
    points: Sequence[Point]
    colour: str
    text: str = ""
    anchor: Anchor = "start"
    dashed: bool = False
    size: float = 12


@dataclass(frozen=True, slots=True)
class _Axes:
    """From the plot's units to pixels."""

    plot: Plot
    shapes: list[_Shape] = field(default_factory=list)

    def at(self, x: float, y: float) -> Point:
        low, high = widen_range(*self.plot.x_range)
        bottom, top = widen_range(*self.plot.y_range)
        across = min(max((x - low) / (high - low), 0.0), 1.0)
        up = min(max((y - bottom) / (top - bottom), 0.0), 1.0)
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)


def to_svg(plot: Chart) -> bytes:
    """Write the chart as an SVG document, without scripts or references."""
    body, height = "\n".join(_svg(shape) for shape in _shapes(plot)), _height(plot)
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" role="img"><title>{escape(plot.title)}</title>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )
    return text.encode()


def to_png(plot: Chart) -> bytes:
    """Paint the chart as a PNG of twice the pixels, 1440 x 800 for one with axes."""
    image = Image.new("RGB", (WIDTH * _SCALE, _height(plot) * _SCALE), "white")
    pen = ImageDraw.Draw(image)
    for shape in _shapes(plot):
        _paint(pen, shape)
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _height(plot: Chart) -> int:
    return plot.height if isinstance(plot, RowChart) else HEIGHT


_LEAST_WIDTH = 1e-300
_LEAST_SHARE = 1e-9


def widen_range(low: float, high: float) -> tuple[float, float]:
    """Widen a range whose ends are equal, or so near that floating point cannot place numbers between them."""
    if high - low > max(_LEAST_WIDTH, _LEAST_SHARE * max(abs(low), abs(high))):
        return low, high
    room = max(1.0, 0.05 * abs(low))
    return low - room, high + room


def ticks(low: float, high: float, *, most: int = 8) -> list[float]:
    """Choose round numbers in a range, at most `most` of them."""
    raw = (high - low) / most
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    digits = 12 - math.floor(math.log10(step))  # of the step: of the whole number, a small range would have none left
    return [round(index * step, digits) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _shapes(plot: Chart) -> list[_Shape]:
    if isinstance(plot, RowChart):
        return list(_row_shapes(plot))
    axes = _Axes(plot)
    _draw_grid(axes)
    for ribbon in plot.ribbons:
        there = [axes.at(x, y) for x, y in zip(ribbon.xs, ribbon.upper, strict=True)]
        back = [axes.at(x, y) for x, y in zip(ribbon.xs, ribbon.lower, strict=True)]
        axes.shapes.append(_Shape("area", [*there, *back[::-1]], _BAND))
    for bar in plot.bars:
        left, top = axes.at(bar.left, bar.height)
        right, bottom = axes.at(bar.right, plot.y_range[0])
        axes.shapes.append(_Shape("area", [(left, top), (right, top), (right, bottom), (left, bottom)], _FILL))
    for curve in plot.curves:
        axes.shapes.extend(_Shape("line", part, curve.colour, dashed=curve.dashed) for part in _parts(axes, curve))
    for whisker in plot.whiskers:
        ends = [axes.at(whisker.x, whisker.low), axes.at(whisker.x, whisker.high)]
        axes.shapes.append(_Shape("line", ends, _INK))
    axes.shapes.extend(_Shape("dot", [axes.at(*dot)], _INK) for dot in plot.dots)
    axes.shapes.extend(_legend_shapes(plot))
    return axes.shapes


def _legend_shapes(plot: Plot) -> Iterator[_Shape]:
    """Lines and their names at the lower left, where curves that fall leave room."""
    for number, (name, curve) in enumerate(reversed(plot.legend)):
        y = HEIGHT - _BOTTOM - 16 - 18 * number
        yield _Shape("line", [(_LEFT + 12, y), (_LEFT + 40, y)], curve.colour, dashed=curve.dashed)
        yield _Shape("text", [(_LEFT + 48, y + 4)], _INK, name)


def _row_shapes(chart: RowChart) -> Iterator[_Shape]:
    low, high = widen_range(*chart.x_range)
    bottom = chart.height - _BOTTOM + 6

    def at(value: float) -> float:
        return _NAMES + min(max((value - low) / (high - low), 0.0), 1.0) * (WIDTH - _NAMES - _RIGHT - 20)

    for tick in ticks(low, high):
        yield _Shape("line", [(at(tick), _TOP - 4), (at(tick), bottom)], _GRID)
        yield _Shape("text", [(at(tick), bottom + 16)], _INK, f"{tick:g}", "middle")
    for number, row in enumerate(chart.rows):
        yield from _shapes_of_row(row, _TOP + number * _ROW, at)
    yield _Shape("line", [(at(0), _TOP - 4), (at(0), bottom)], _INK)
    yield _Shape("text", [((_NAMES + WIDTH - _RIGHT) / 2, chart.height - 14)], _INK, chart.x_label, "middle")
    yield _Shape("text", [(WIDTH / 2, 20)], _INK, chart.title, "middle", size=14)


def _shapes_of_row(row: Row, top: float, at: Callable[[float], float]) -> Iterator[_Shape]:
    middle = top + _THICKNESS / 2
    left, right = sorted((at(0), at(row.value)))
    corners = [(left, top), (right, top), (right, top + _THICKNESS), (left, top + _THICKNESS)]
    yield _Shape("area", corners, _FILL)
    if row.low is not None and row.high is not None:
        yield _Shape("line", [(at(row.low), middle), (at(row.high), middle)], _INK)
    name = row.name if len(row.name) <= _LONGEST_NAME else "..." + row.name[3 - _LONGEST_NAME :]
    yield _Shape("text", [(_NAMES - 8, middle + 4)], _INK, name, "end")


def _draw_grid(axes: _Axes) -> None:
    plot, shapes = axes.plot, axes.shapes
    low, high = widen_range(*plot.x_range)
    bottom, top = widen_range(*plot.y_range)
    for value in ticks(bottom, top):
        left, right = axes.at(low, value), axes.at(high, value)
        shapes.append(_Shape("line", [left, right], _GRID))
        shapes.append(_Shape("text", [(left[0] - 6, left[1] + 4)], _INK, f"{value:g}", "end"))
    for value, text in plot.x_ticks if plot.x_ticks is not None else [(one, f"{one:g}") for one in ticks(low, high)]:
        place = axes.at(value, bottom)
        shapes.append(_Shape("text", [(place[0], place[1] + 16)], _INK, text, "middle"))
    shapes.append(_Shape("line", [axes.at(low, top), axes.at(low, bottom), axes.at(high, bottom)], _INK))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    shapes.append(_Shape("text", [(middle, HEIGHT - 16)], _INK, plot.x_label, "middle"))
    shapes.append(_Shape("text", [(8, _TOP - 8)], _INK, plot.y_label, "start"))
    shapes.append(_Shape("text", [(middle, 20)], _INK, plot.title, "middle", size=14))


def _parts(axes: _Axes, curve: Curve) -> list[list[Point]]:
    """The unbroken parts of a curve, in pixels."""
    parts: list[list[Point]] = [[]]
    for point in curve.points:
        if point is None:
            parts.append([])
        else:
            parts[-1].append(axes.at(*point))
    return [part for part in parts if len(part) > 1]


def _svg(shape: _Shape) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    x, y = shape.points[0]
    match shape.kind:
        case "area":
            return f'<polygon points="{places}" fill="{shape.colour}"/>'
        case "line":
            dashes = ' stroke-dasharray="6 4"' if shape.dashed else ""
            return f'<polyline points="{places}" fill="none" stroke="{shape.colour}" stroke-width="1.5"{dashes}/>'
        case "dot":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{shape.colour}"/>'
        case _:
            attributes = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{shape.anchor}" font-size="{shape.size:g}"'
            return f'<text {attributes} fill="{shape.colour}">{escape(shape.text)}</text>'


def _paint(pen: ImageDraw.ImageDraw, shape: _Shape) -> None:
    points = [(x * _SCALE, y * _SCALE) for x, y in shape.points]
    x, y = points[0]
    match shape.kind:
        case "area":
            pen.polygon(points, fill=shape.colour)
        case "line":
            for start, end in pairwise(points):
                for part in _dashes(start, end) if shape.dashed else [(start, end)]:
                    pen.line(part, fill=shape.colour, width=3)
        case "dot":
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=shape.colour)
        case _:
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            font = ImageFont.load_default(size=shape.size * _SCALE)
            pen.text((x, y), shape.text, fill=shape.colour, font=font, anchor=anchor)


def _dashes(start: Point, end: Point) -> list[tuple[Point, Point]]:
    length = math.dist(start, end)
    if length == 0:
        return []
    step, drawn = 20 / length, 12 / length
    count = math.ceil(1 / step)

    def at(share: float) -> Point:
        share = min(share, 1.0)
        return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])

    return [(at(index * step), at(index * step + drawn)) for index in range(count)]
