"""What detectors find of a car under textures, condition by condition; no torch.

A texture is measured as it is stored: rounded to 256 levels, on a picture rounded to 256 levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.conditions import TEST_LIGHTS, Condition
from services.security.camouflage.grids import HeldOutBackgrounds
from services.security.camouflage.meshes.mesh import Mesh, Part
from services.security.camouflage.paints import Colour
from services.security.camouflage.random_textures import draw_palette, draw_texture
from services.security.camouflage.rendering.frames import Frame, Scene, finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS

Floats = NDArray[np.float32]

_RANDOM: Final = 16
"""Of the generator of random textures, beside its seed."""

LEAST_PIXELS: Final = 150.0
"""Pixels that show the car below which a condition is left out, before anything is found on it."""

OVERLAP: Final = 0.5
"""Intersection over union with the car's box from which on a box is taken for the car."""


class FoundVehicles(Protocol):
    """Vehicles on one picture, after suppression."""

    @property
    def boxes(self) -> Floats:
        """float32 (n, 4), left, top, right and bottom in pixels."""

    @property
    def scores(self) -> Floats:
        """float32 (n,) in [0, 1]."""


class Detector(Protocol):
    """What finds vehicles."""

    @property
    def name(self) -> str:
        """Of it."""

    def find(self, pictures: Sequence[NDArray[np.uint8]]) -> Sequence[FoundVehicles]:
        """Vehicles on each picture, uint8 RGB (height, width, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One condition with all textures.

    Attributes:
        condition: it.
        box: of the car in pixels.
        scores: best score of a box on the car, by name of the detector and then of the texture; 0 for none.
    """

    condition: Condition
    box: tuple[int, int, int, int]
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All conditions.

    Attributes:
        sights: those with enough of the car.
        left_out: conditions with too little of it.
    """

    sights: list[Sight]
    left_out: int


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What stands before the camera.

    Attributes:
        mesh: that is painted.
        mask: bool (side, side), texels on paint.
        backgrounds: of the grid.
        side: pixels of the pictures.
    """

    mesh: Mesh
    mask: NDArray[np.bool_]
    backgrounds: HeldOutBackgrounds
    side: int

    def see(self, condition: Condition) -> Scene:
        """The scene of a condition."""
        return make_scene(self.mesh, condition.camera, self.texture_size)

    @property
    def texture_size(self) -> tuple[int, int]:
        """Rows and columns of textures."""
        return self.mask.shape[0], self.mask.shape[1]

    def frame(self, scene: Scene, condition: Condition) -> Frame:
        """The picture of a scene without its texture."""
        light, body = TEST_LIGHTS[condition.light]
        background = self.backgrounds.see(condition.background, scene.view.camera)
        return make_frame(scene, light, MATERIALS | {Part.BODY: body}, background)

    def paint(self, scene: Scene, condition: Condition, textures: Sequence[Floats]) -> list[NDArray[np.uint8]]:
        """The pictures of a scene with some textures, uint8 RGB."""
        frame = self.frame(scene, condition)
        return [to_bytes(finish_frame(frame, texture, self.mask)) for texture in textures]


def measure(
    stage: Stage,
    conditions: Sequence[Condition],
    textures: dict[str, Floats],
    detectors: Sequence[Detector],
    *,
    watch: Callable[[int], None],
) -> Measured:
    """Show detectors the car under all conditions with all textures.

    Args:
        stage: with the car.
        conditions: of the grid.
        textures: float32 (side, side, 3), sRGB in [0, 1], by name.
        detectors: that are asked, each by itself.
        watch: called before each condition with how many are done; may raise.
    """
    sights, left_out = [], 0
    stored = {name: quantise(texture) for name, texture in textures.items()}
    for done, condition in enumerate(conditions):
        watch(done)
        scene = stage.see(condition)
        box = scene.view.box
        if box is None or float(scene.view.weights.sum()) < LEAST_PIXELS:
            left_out += 1
            continue
        pictures = stage.paint(scene, condition, list(stored.values()))
        scores = {
            detector.name: dict(zip(stored, (best_score(found, box) for found in detector.find(pictures)), strict=True))
            for detector in detectors
        }
        sights.append(Sight(condition, box, scores))
    return Measured(sights, left_out)


def best_score(found: FoundVehicles, box: tuple[int, int, int, int]) -> float:
    """Score of the surest box that overlaps the car's by `OVERLAP`; 0 for none."""
    boxes, scores = np.asarray(found.boxes, np.float64).reshape(-1, 4), np.asarray(found.scores, np.float64)
    if not len(boxes):
        return 0.0
    least, greatest = np.array(box[:2]), np.array(box[2:])
    common = np.maximum(np.minimum(boxes[:, 2:], greatest) - np.maximum(boxes[:, :2], least), 0).prod(axis=1)
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    overlaps = common / (areas + (greatest - least).prod() - common)
    return float(scores[overlaps >= OVERLAP].max(initial=0.0))


def compared_textures(result: Floats, mask: NDArray[np.bool_], paint: Colour, *, seed: int) -> dict[str, Floats]:
    """What a result is measured beside, on the same texels.

    Args:
        result: float32 (side, side, 3), sRGB in [0, 1].
        mask: bool (side, side), the texels that the result replaces.
        paint: of the rest.
        seed: of the random texture.

    Returns:
        `plain` paint; `grey`, which covers as much; `random`, a random camouflage on as much; and `result`.
    """
    side = mask.shape[0]
    plain = np.broadcast_to(np.array(paint, np.float32) / np.float32(255), (side, side, 3))
    cover = mask[..., None]
    return {
        "plain": np.array(plain),
        "grey": np.where(cover, np.float32(grey_of(paint) / 255), plain).astype(np.float32),
        "random": np.where(cover, random_texture(side, seed), plain).astype(np.float32),
        "result": result,
    }


def grey_of(paint: Colour) -> int:
    """A grey that differs from the paint: 128, or 64 where the paint is nearly that."""
    return 64 if max(abs(one - 128) for one in paint) < 24 else 128


def random_texture(side: int, seed: int) -> Floats:
    """A random camouflage of a seed, float32 (side, side, 3), sRGB in [0, 1]."""
    rng = np.random.default_rng((seed, _RANDOM))
    return draw_texture(draw_palette(rng), side, rng)


def quantise(texture: Floats) -> Floats:
    """A texture as a PNG keeps it."""
    return to_bytes(texture).astype(np.float32) / np.float32(255)


def to_bytes(picture: Floats) -> NDArray[np.uint8]:
    """Values of sRGB in [0, 1] as uint8."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
