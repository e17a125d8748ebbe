"""The pictures of a run: cameras and backgrounds computed once, lights and materials drawn anew for each.

All that a step draws follows from the plan's seed and the number of the step, so that nothing needs to be kept for a
run that is taken up again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.measurement.conditions import (
    Backgrounds,
    draw_camera,
    draw_light,
    draw_materials,
    draw_sun,
)
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.rendering.frames import Frame, Scene, make_frame, make_scene
from services.security.camouflage.textures.palettes import Palette, find_palette

_CAMERAS: Final = 1
_SUNS: Final = 2
_PALETTE: Final = 3
_STEPS: Final = 4
_BACKGROUNDS: Final = 5
"""What a random generator is for: its numbers depend on seed, purpose and place in the run."""

_VARIANTS: Final = 4
"""Backgrounds of a scene: drawing one takes longer than all else about a frame, so they are kept."""
_LEAST_BOX: Final = 12
"""Pixels of the shorter side of a car below which a camera is drawn again."""
_MOST_TRIES: Final = 10
_PALETTE_PICTURES: Final = 16


def generator_of(plan: CamouflagePlan, step: int) -> np.random.Generator:
    """Draws all of a step, counted from 0."""
    return np.random.default_rng((plan.seed, _STEPS, step))


@dataclass(frozen=True, slots=True, eq=False)
class FramedCar:
    """A picture without its texture.

    Attributes:
        frame: the rest of it.
        box: where the car is: left, top, right and bottom in pixels.
    """

    frame: Frame
    box: tuple[int, int, int, int]


class ScenePool:
    """Scenes of one car that frames are made of; a tenth of a second each at 128 pixels, as they are first drawn.

    Args:
        plan: that says which and how many.
        mesh: of the car.
        backgrounds: that it is put in front of.
    """

    def __init__(self, plan: CamouflagePlan, mesh: Mesh, backgrounds: Backgrounds) -> None:
        self._plan, self._mesh, self._backgrounds = plan, mesh, backgrounds
        self._scenes: dict[int, Scene] = {}
        self._behind: dict[tuple[int, int], NDArray[np.uint8]] = {}
        rng = np.random.default_rng((plan.seed, _SUNS))
        self._suns = [draw_sun(rng) for _ in range(plan.views.lights)]

    def draw(self, rng: np.random.Generator) -> FramedCar:
        """A frame of any scene, background, light and material."""
        index = int(rng.integers(self._plan.views.scenes))
        scene = self.scene(index)
        light = draw_light(self._suns[int(rng.integers(len(self._suns)))], rng)
        background = self.background(index, int(rng.integers(_VARIANTS)))
        frame = make_frame(scene, light, draw_materials(rng), background)
        if scene.view.box is None:
            raise AssertionError("scenes without a car are not kept")
        return FramedCar(frame, scene.view.box)

    def scene(self, index: int) -> Scene:
        """One of the plan's scenes, the same one whenever it is asked for.

        Raises:
            ValueError: the car is not seen by cameras as the plan has them.
        """
        if index not in self._scenes:
            self._scenes[index] = self._make(index)
        return self._scenes[index]

    def background(self, index: int, variant: int) -> NDArray[np.float32]:
        """One of those of a scene, float32 (side, side, 3), sRGB in [0, 1] in steps of 1 / 255."""
        if (index, variant) not in self._behind:
            rng = np.random.default_rng((self._plan.seed, _BACKGROUNDS, index, variant))
            drawn = self._backgrounds.draw(self.scene(index).view.camera, rng)
            self._behind[index, variant] = (drawn * 255 + 0.5).astype(np.uint8)
        return self._behind[index, variant].astype(np.float32) / np.float32(255)

    def palette(self) -> Palette:
        """Colours of the backgrounds."""
        return find_background_palette(self._plan, self._backgrounds)

    def _make(self, index: int) -> Scene:
        plan, rng = self._plan, np.random.default_rng((self._plan.seed, _CAMERAS, index))
        for _ in range(_MOST_TRIES):
            camera = draw_camera(plan.views, rng)
            scene = make_scene(self._mesh, camera, (plan.texture_side, plan.texture_side))
            if scene.view.box is not None and _shorter_side(scene.view.box) >= _LEAST_BOX:
                return scene
        raise ValueError(f"the car is smaller than {_LEAST_BOX} pixels from where the plan has its cameras")


def find_background_palette(plan: CamouflagePlan, backgrounds: Backgrounds) -> Palette:
    """Colours of backgrounds as a run of the plan has them."""
    rng = np.random.default_rng((plan.seed, _PALETTE))
    pictures = [backgrounds.draw(draw_camera(plan.views, rng), rng) for _ in range(_PALETTE_PICTURES)]
    return find_palette(pictures, seed=plan.seed)


def _shorter_side(box: tuple[int, int, int, int]) -> int:
    return min(box[2] - box[0], box[3] - box[1])
