"""Pictures to measure with, their texture left open: all unseen, or seen but for one kind of condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.evaluation.backgrounds import BackgroundSplit
from services.security.camouflage.measurement.conditions import (
    TEST_LIGHTS,
    Condition,
    draw_light,
    draw_materials,
    draw_sun,
)
from services.security.camouflage.measurement.grids import deal_grid
from services.security.camouflage.measurement.measures import Conditions
from services.security.camouflage.measurement.measuring import LEAST_PIXELS, Stage, conditions_of_look, to_bytes
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.optimisation.scenes import ScenePool
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.rendering.frames import Frame, Scene, finish_frame, make_frame
from services.security.camouflage.rendering.light import MATERIALS, Light, Materials

Floats = NDArray[np.float32]
Unseen = Literal["nothing", "views", "lights", "backgrounds", "all"]
FACTORS: Final[tuple[Unseen, ...]] = ("nothing", "views", "lights", "backgrounds")
"""What is unseen beside the grid where all is: `nothing` has cameras, lights and backgrounds as steps have them."""

_STREAM: Final = 7_919


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A picture without its texture.

    Attributes:
        frame: the rest of it.
        box: of the car: left, top, right and bottom in pixels.
        conditions: under which it was taken; its camera is a view of its own.
        behind: uint8 RGB (height, width, 3), what is behind the car.
        coverage: float32 (height, width), the car's share of each pixel.
    """

    frame: Frame
    box: tuple[int, int, int, int]
    conditions: Conditions
    behind: NDArray[np.uint8]
    coverage: Floats

    def with_texture(self, texture: Floats, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """The picture, uint8 RGB (height, width, 3), with a texture as `finish_frame` takes it."""
        return to_bytes(finish_frame(self.frame, texture, mask))


@dataclass(frozen=True, slots=True, eq=False)
class Shots:
    """Pictures of one grid.

    Attributes:
        taken: those with enough of the car.
        left_out: how many show too little of it.
    """

    taken: list[Shot]
    left_out: int


def take_grid(stage: Stage, plan: CamouflagePlan, *, azimuths: int) -> Shots:
    """The grid whose views, lights and backgrounds no step sees."""
    grid = deal_grid(plan, azimuths=azimuths, backgrounds=len(stage.backgrounds))
    shots = []
    for view, condition in enumerate(grid):
        scene = stage.see(condition)
        if _visible(scene):
            background = stage.backgrounds.see(condition.background, scene.view.camera)
            shots.append(
                make_shot(scene, stage.frame(scene, condition), conditions_of_look(condition, view), background)
            )
    return Shots(shots, len(grid) - len(shots))


def take_factor(unseen: Unseen, stage: Stage, plan: CamouflagePlan, split: BackgroundSplit, *, count: int) -> Shots:
    """Pictures of which one kind of condition, or none, is unseen.

    Args:
        unseen: `nothing`, `views`, `lights` or `backgrounds`.
        stage: with the car and the held-out backgrounds.
        plan: of the runs that are measured.
        split: whose first backgrounds steps see.
        count: of the pictures, before those with too little of the car are left out.
    """
    pool = ScenePool(plan, stage.mesh, split.learned)
    rng = np.random.default_rng((plan.seed, _STREAM, FACTORS.index(unseen)))
    # Azimuths are the innermost but for distances and elevations, so even spacing meets all of them.
    views = deal_grid(plan, azimuths=24, backgrounds=len(stage.backgrounds))
    chosen = rng.permutation(len(views))[:count]
    shots = []
    for number in range(count):
        place = number % plan.views.scenes
        test = views[int(chosen[number % len(chosen)])]
        scene = stage.see(test) if unseen == "views" else pool.scene(place)
        if not _visible(scene):
            continue
        name, light, materials = _light(unseen, number, rng)
        camera = scene.view.camera
        behind = int(rng.integers(len(stage.backgrounds)))
        match unseen:
            case "backgrounds":
                background = stage.backgrounds.see(behind, camera)
            case "views":
                background = split.learned.draw(camera, rng)
            case _:
                background = pool.background(place, int(rng.integers(2)))
        frame = make_frame(scene, light, materials, background)
        condition = Condition(camera, name, behind)
        shots.append(make_shot(scene, frame, conditions_of_look(condition, number), background))
    return Shots(shots, count - len(shots))


def paint_all(shots: Sequence[Shot], texture: Floats, mask: NDArray[np.bool_]) -> list[NDArray[np.uint8]]:
    """All pictures with one texture."""
    return [shot.with_texture(texture, mask) for shot in shots]


def _light(unseen: Unseen, number: int, rng: np.random.Generator) -> tuple[str, Light, Materials]:
    if unseen == "lights":
        name = list(TEST_LIGHTS)[number % len(TEST_LIGHTS)]
        light, body = TEST_LIGHTS[name]
        return name, light, MATERIALS | {Part.BODY: body}
    return "as in steps", draw_light(draw_sun(rng), rng), draw_materials(rng)


def _visible(scene: Scene) -> bool:
    return scene.view.box is not None and float(scene.view.weights.sum()) >= LEAST_PIXELS


def make_shot(scene: Scene, frame: Frame, conditions: Conditions, background: Floats) -> Shot:
    """A picture of a scene in which the car is seen.

    Args:
        scene: with the car.
        frame: of it.
        conditions: under which it is taken.
        background: of the frame, float32 (height, width, 3), sRGB in [0, 1].
    """
    if scene.view.box is None:
        raise AssertionError("pictures without a car are not taken")
    return Shot(frame, scene.view.box, conditions, to_bytes(background), scene.view.coverage)
