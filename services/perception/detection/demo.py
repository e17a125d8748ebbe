"""Drawn streets with cars to try detection with, and a few of them with the boxes of their cars; no photographs."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from PIL import Image, ImageDraw, ImageFilter

from shared.storage.zips import pack_zip

WIDTH: Final = 448
HEIGHT: Final = 266
PICTURES: Final = 6
CLASS: Final = "car"

_STREET: Final = 13
"""Seed of the street that stands alone; it has four cars."""

_HORIZON: Final = 110
_SKY: Final = ((135, 180, 225), (215, 228, 238))
_ROAD: Final = ((105, 105, 108), (70, 70, 74))
_COLOURS: Final = ((178, 34, 40), (30, 70, 150), (225, 225, 228), (40, 42, 48), (205, 160, 40), (60, 120, 80))
_Light = tuple[float, float, float]
_AS_DRAWN: Final = (1.0, 1.0, 1.0)
_AUTUMN: Final = (1.1, 0.95, 0.75)
_DUSK: Final = (0.42, 0.42, 0.6)
_LANES: Final = (0.20, 0.42, 0.62, 0.84)
"""Centres of cars at the lower edge, as shares of the width; all lanes meet in the middle of the horizon."""


@dataclass(frozen=True, slots=True)
class Car:
    """A car on a street.

    Attributes:
        box: left, top, right and bottom edge in pixels.
        colour: of its body.
    """

    box: tuple[int, int, int, int]
    colour: tuple[int, int, int]


def street() -> bytes:
    """PNG of a street with a few cars, seen from a car."""
    return _png(_draw(_cars(_STREET), seed=_STREET))


def annotated_streets() -> bytes:
    """ZIP of six streets and a COCO file with the boxes of their cars, of the class `car`."""
    return _annotated(range(1, PICTURES + 1), _AS_DRAWN)


def annotated_autumn_streets() -> bytes:
    """The same of other streets, in warmer light: a second domain with labels."""
    return _annotated(range(21, 21 + PICTURES), _AUTUMN)


def annotated_dusk_streets() -> bytes:
    """The same of streets at dusk, to measure with."""
    return _annotated(range(61, 61 + PICTURES), _DUSK)


def dusk_streets() -> bytes:
    """ZIP of streets at dusk without any labels: a domain to adapt to."""
    return pack_zip((f"dusk-{number}.png", _png(_lit(number, _DUSK))) for number in range(41, 41 + PICTURES))


def _annotated(seeds: range, light: _Light) -> bytes:
    files: dict[str, bytes] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in seeds:
        cars = _cars(number)
        name = f"images/street-{number}.png"
        files[name] = _png(_lit(number, light))
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for car in cars:
            left, top, right, bottom = car.box
            box = [left, top, right - left, bottom - top]
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            annotations.append({**about, "bbox": box, "area": box[2] * box[3]})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": CLASS}]}
    return pack_zip({"annotations.json": orjson.dumps(document), **files}.items())


def _lit(seed: int, light: _Light) -> Image.Image:
    """A street whose colours are multiplied by those of a light."""
    pixels = np.asarray(_draw(_cars(seed), seed=seed), np.float32) * np.array(light, np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _cars(seed: int) -> list[Car]:
    """At most one car in each lane, the farthest first."""
    random = np.random.default_rng(seed)
    lanes = random.permutation(len(_LANES))[: random.integers(2, len(_LANES) + 1)]
    cars = [_car(_LANES[lane], random.uniform(0.12, 0.75), random) for lane in lanes]
    return sorted(cars, key=lambda car: car.box[3])


def _car(lane: float, nearness: float, random: np.random.Generator) -> Car:
    """A car whose size follows from how far down the picture it stands."""
    bottom = _HORIZON + nearness * (HEIGHT - _HORIZON)
    middle = WIDTH * (0.5 + (lane - 0.5) * nearness)
    width = 8 + 95 * nearness
    box = (middle - width / 2, bottom - 0.78 * width, middle + width / 2, bottom)
    left, top, right, low = (round(edge) for edge in box)
    return Car((max(left, 0), top, min(right, WIDTH), low), _COLOURS[random.integers(len(_COLOURS))])


def _draw(cars: list[Car], *, seed: int) -> Image.Image:
    image = _background(seed)
    pen = ImageDraw.Draw(image)
    for lane in (0.31, 0.52, 0.73):
        pen.line((WIDTH // 2, _HORIZON, WIDTH * lane * 2 - WIDTH // 2, HEIGHT), fill=(215, 215, 205), width=2)
    for car in cars:
        _draw_car(pen, car)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def _draw_car(pen: ImageDraw.ImageDraw, car: Car) -> None:
    """A car from behind: shadow, wheels, body, cabin with a window, lights, plate."""
    left, top, right, bottom = car.box
    width, height = right - left, bottom - top

    def place(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        # Pillow draws the last column and row, too.
        return left + x0 * width, top + y0 * height, left + x1 * width - 1, top + y1 * height - 1

    pen.ellipse(place(-0.06, 0.9, 1.06, 1.06), fill=(45, 45, 48))
    for x in (0.06, 0.76):
        pen.rectangle(place(x, 0.72, x + 0.18, 1), fill=(20, 20, 22))
    pen.rounded_rectangle(place(0, 0.38, 1, 0.9), max(1, width // 12), fill=car.colour)
    pen.rounded_rectangle(place(0.12, 0, 0.88, 0.5), max(1, width // 8), fill=car.colour)
    pen.rectangle(place(0.2, 0.1, 0.8, 0.38), fill=(60, 75, 90))
    for x in (0.04, 0.8):
        pen.rectangle(place(x, 0.48, x + 0.16, 0.6), fill=(215, 30, 30))
    pen.rectangle(place(0.36, 0.66, 0.64, 0.78), fill=(235, 235, 230))


def _background(seed: int) -> Image.Image:
    """Sky, a line of houses, and road that darkens, with grain."""
    random = np.random.default_rng((seed, 1))
    rows = np.zeros((HEIGHT, 3))
    for (first, last), colours in (((0, _HORIZON), _SKY), ((_HORIZON, HEIGHT), _ROAD)):
        rows[first:last] = np.linspace(np.array(colours[0]), np.array(colours[1]), last - first)
    pixels = np.repeat(rows[:, None], WIDTH, axis=1)
    for left in range(0, WIDTH, 32):
        height = int(random.integers(20, 70))
        pixels[_HORIZON - height : _HORIZON, left : left + 32] = random.integers(90, 190, 3)
    pixels += random.normal(0, 4, (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()
