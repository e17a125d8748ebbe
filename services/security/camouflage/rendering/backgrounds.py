"""What stands behind a car: a picture cut so that its horizon is the camera's, or a street that is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from services.security.camouflage.rendering.camera import Camera

Floats = NDArray[np.float32]


def fit_background(picture: NDArray[np.uint8], horizon: float, camera: Camera, *, zoom: float = 1.0) -> Floats:
    """The part of a picture that a camera could have seen behind the car.

    The part has the shape of the camera's picture, and the picture's horizon lies where the camera's does, as far as
    the picture reaches; from high above it is the lowest part of the picture.

    Args:
        picture: uint8 RGB (height, width, 3).
        horizon: row of its horizon, as a share of its height.
        camera: that takes the new picture.
        zoom: 1 takes the largest part that fits, 2 one of half the side.

    Returns:
        float32 (camera height, camera width, 3), sRGB in [0, 1].
    """
    height, width = picture.shape[:2]
    scale = min(height / camera.height, width / camera.width) / zoom
    tall, wide = camera.height * scale, camera.width * scale
    top = float(np.clip(horizon * height - camera.horizon * scale, 0, height - tall))
    left = (width - wide) / 2
    part = Image.fromarray(picture).resize(
        (camera.width, camera.height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
    )
    return np.asarray(np.asarray(part, np.float32) / 255, np.float32)


def draw_street(camera: Camera, seed: int) -> Floats:
    """A simple street behind the car: sky, houses, trees, pavement and asphalt with a line; float32 as above."""
    rng = np.random.default_rng(seed)
    side = 2 * max(camera.width, camera.height)
    size = (side, int(side * camera.height / camera.width))
    horizon = camera.horizon / camera.height * size[1]
    image = Image.new("RGB", size, _tone(rng, 96, 20))
    draw = ImageDraw.Draw(image)
    if horizon > 0:
        _draw_sky(draw, rng, size, horizon)
        _draw_houses(draw, rng, size, horizon)
        kerb = horizon + 0.05 * size[1]
        draw.rectangle((0, horizon, size[0], kerb), fill=_tone(rng, 130, 25))
    line = max(horizon, 0) + (0.35 + 0.3 * rng.random()) * (size[1] - max(horizon, 0))
    draw.line(
        (0, line, size[0], line + rng.uniform(-0.1, 0.1) * size[1]), fill=(205, 205, 200), width=max(side // 90, 1)
    )
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), np.float32)
    grain = rng.normal(0, 6, (size[1] // 2, size[0] // 2, 1)).repeat(2, axis=0).repeat(2, axis=1)
    rows, columns = grain.shape[:2]
    pixels[:rows, :columns] += grain.astype(np.float32)
    reduced = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((camera.width, camera.height))
    return np.asarray(np.asarray(reduced, np.float32) / 255, np.float32)


def _draw_sky(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], horizon: float) -> None:
    top, low = np.array([110.0, 150.0, 205.0]) + rng.normal(0, 12, 3), np.array([205.0, 215.0, 225.0])
    for row in range(int(min(horizon, size[1])) + 1):
        colour = top + (low - top) * row / max(horizon, 1)
        draw.line((0, row, size[0], row), fill=(int(colour[0]), int(colour[1]), int(colour[2])))


def _draw_houses(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], horizon: float) -> None:
    left = -rng.uniform(0, 0.1) * size[0]
    while left < size[0]:
        wide, tall = rng.uniform(0.15, 0.4) * size[0], rng.uniform(0.1, 0.45) * size[1]
        if rng.random() < 0.3:
            green = (int(rng.integers(40, 80)), int(rng.integers(80, 120)), int(rng.integers(35, 65)))
            draw.ellipse((left, horizon - tall, left + wide, horizon + tall * 0.2), fill=green)
        else:
            wall = _tone(rng, 160, 45)
            draw.rectangle((left, horizon - tall, left + wide, horizon), fill=wall)
            pane = tuple(int(one * 0.55) for one in wall)
            step = 0.07 * size[0]
            for x in np.arange(left + step / 2, left + wide - step / 2, step):
                for y in np.arange(horizon - tall + step / 2, horizon - step / 2, step):
                    draw.rectangle((x, y, x + step / 2, y + step / 2), fill=pane)
        left += wide * rng.uniform(0.8, 1.2)


def _tone(rng: np.random.Generator, level: int, spread: int) -> tuple[int, int, int]:
    base = level + rng.uniform(-spread, spread)
    red, green, blue = (int(np.clip(base + rng.normal(0, 4), 0, 255)) for _ in range(3))
    return red, green, blue
