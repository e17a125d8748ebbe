"""What detectors find of a car under textures, condition by condition; no torch.

A texture is measured as it is stored: rounded to 256 levels, on a picture rounded to 256 levels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.detection.detectors import Found, VehicleDetector
from services.security.camouflage.measurement.conditions import TEST_LIGHTS, Condition
from services.security.camouflage.measurement.grids import HeldOutBackgrounds
from services.security.camouflage.measurement.measures import Conditions, Look, look
from services.security.camouflage.meshes.mesh import Mesh, Part
from services.security.camouflage.rendering.frames import Frame, Scene, finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS
from services.security.camouflage.textures.paints import Colour
from services.security.camouflage.textures.random_textures import draw_palette, draw_texture
from shared.fleet.budget import BudgetExhausted
from shared.problems import BadGateway, GatewayTimeout, ServiceUnavailable

Floats = NDArray[np.float32]

_RANDOM: Final = 16
"""Of the generator of random textures, beside its seed."""

SILENT: Final = (BadGateway, GatewayTimeout, ServiceUnavailable, BudgetExhausted)
"""What a detector elsewhere may end with, without the end of the measures of others."""

LEAST_PIXELS: Final = 150.0
"""Pixels that show the car below which a condition is left out, before anything is found on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One condition with all textures.

    Attributes:
        condition: it.
        box: of the car in pixels.
        looks: what was found of the car, by name of the detector and then of the texture; without detectors that
            answered no more.
    """

    condition: Condition
    box: tuple[int, int, int, int]
    looks: dict[str, dict[str, Look]]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All conditions.

    Attributes:
        sights: those with enough of the car.
        left_out: conditions with too little of it.
        silent: detectors that answered no more, and why.
    """

    sights: list[Sight]
    left_out: int
    silent: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Survey:
    """Measures under way.

    Attributes:
        sights: of the conditions so far; None where too little of the car is seen.
        silent: detectors that are asked no more, and why.
    """

    sights: list[Sight | None] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)

    def finish(self) -> Measured:
        """What came of it."""
        seen = [one for one in self.sights if one is not None]
        return Measured(seen, len(self.sights) - len(seen), self.silent)


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
    detectors: Mapping[str, VehicleDetector],
    *,
    watch: Callable[[int], None],
    survey: Survey | None = None,
    elsewhere: Collection[str] = (),
) -> Measured:
    """Show detectors the car under all conditions with all textures.

    Args:
        stage: with the car.
        conditions: of the grid.
        textures: float32 (side, side, 3), sRGB in [0, 1], by name.
        detectors: that are asked, each by itself, by name.
        watch: called before each condition with how many are done; may raise.
        survey: measures of an earlier attempt, which are gone on with; grows.
        elsewhere: names of detectors that may cease to answer.
    """
    survey = survey or Survey()
    stored = {name: quantise(texture) for name, texture in textures.items()}
    for done in range(len(survey.sights), len(conditions)):
        watch(done)
        condition = conditions[done]
        scene = stage.see(condition)
        box = scene.view.box
        if box is None or float(scene.view.weights.sum()) < LEAST_PIXELS:
            survey.sights.append(None)
            continue
        pictures = stage.paint(scene, condition, list(stored.values()))
        made_under = conditions_of_look(condition, done)
        looks = {
            name: {texture: look(one, box, made_under) for texture, one in zip(stored, found, strict=True)}
            for name, found in _ask(detectors, pictures, survey, elsewhere)
        }
        survey.sights.append(Sight(condition, box, looks))
    return survey.finish()


def _ask(
    detectors: Mapping[str, VehicleDetector],
    pictures: Sequence[NDArray[np.uint8]],
    survey: Survey,
    elsewhere: Collection[str],
) -> Iterator[tuple[str, list[Found]]]:
    """What each detector that still answers finds."""
    for name, detector in detectors.items():
        if name in survey.silent:
            continue
        try:
            found = detector.find(pictures)
        except SILENT as problem:
            if name not in elsewhere:
                raise
            survey.silent[name] = problem.detail
            continue
        yield name, found


def conditions_of_look(condition: Condition, view: int) -> Conditions:
    """A condition of the grid as measures have it; every one is a view of its own."""
    camera = condition.camera
    return Conditions(
        view, camera.azimuth, camera.elevation, camera.distance, condition.light, str(condition.background)
    )


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
