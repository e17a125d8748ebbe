"""Charts without a plotting library: bars and lines on axes, laid out once as shapes, then written as SVG or PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final, Literal

from PIL import Image, ImageDraw, ImageFont

WIDTH: Final = 720
HEIGHT: Final = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 44, 56
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
class Plot:
    """A chart: axes and what is on them, in the units of the data.

    Attributes:
        title, x_label, y_label: texts.
        x_range, y_range: what the axes show; an upper end above the lower.
        bars, ribbons, curves, dots: what is on them.
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


def to_svg(plot: Plot) -> bytes:
    """Write the plot as an SVG document, without scripts or references."""
    body = "\n".join(_svg(shape) for shape in _shapes(plot))
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" role="img"><title>{escape(plot.title)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )
    return text.encode()


def to_png(plot: Plot) -> bytes:
    """Paint the plot as a PNG of twice the pixels, 1440 x 800."""
    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), "white")
    pen = ImageDraw.Draw(image)
    for shape in _shapes(plot):
        _paint(pen, shape)
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


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


def _shapes(plot: Plot) -> list[_Shape]:
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
    axes.shapes.extend(_Shape("dot", [axes.at(*dot)], _INK) for dot in plot.dots)
    return axes.shapes


def _draw_grid(axes: _Axes) -> None:
    plot, shapes = axes.plot, axes.shapes
    low, high = widen_range(*plot.x_range)
    bottom, top = widen_range(*plot.y_range)
    for value in ticks(bottom, top):
        left, right = axes.at(low, value), axes.at(high, value)
        shapes.append(_Shape("line", [left, right], _GRID))
        shapes.append(_Shape("text", [(left[0] - 6, left[1] + 4)], _INK, f"{value:g}", "end"))
    for value in ticks(low, high):
        place = axes.at(value, bottom)
        shapes.append(_Shape("text", [(place[0], place[1] + 16)], _INK, f"{value:g}", "middle"))
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
