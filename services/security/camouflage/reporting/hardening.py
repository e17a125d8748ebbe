"""A set to harden a detector with: the car under textures, in views and lights that nothing is measured with.

Cameras, lights and paints are drawn from the ranges of steps, so those of the grid stay unseen; backgrounds are those
of the stage.

The archive holds PNGs and one document of COCO with the box of the car on each, class `vehicle`: what
`/v1/perception/adaptations` takes as a labelled `source`, and `/v1/perception/detections/evaluations` measures on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.camouflage.measurement.conditions import draw_camera, draw_light, draw_materials, draw_sun
from services.security.camouflage.measurement.measuring import LEAST_PIXELS, Stage, random_texture, to_bytes
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import Light, Materials
from services.security.camouflage.reporting.notices import SIMULATION
from shared.imaging.pictures import encode_png
from shared.storage.zips import pack_zip

Floats = NDArray[np.float32]

PICTURES: Final = 48
"""Of a set: half with the result, half with random textures of the same area, each its own."""

CLASS: Final = "vehicle"

_STREAM: Final = 48_611


@dataclass(frozen=True, slots=True)
class LearnedCondition:
    """A picture to learn from.

    Attributes:
        camera: that takes it.
        light: on the car.
        materials: of its parts.
        background: number of the stage's.
    """

    camera: Camera
    light: Light
    materials: Materials
    background: int


def make_hardening_set(
    stage: Stage,
    plan: CamouflagePlan,
    result: Floats,
    cover: NDArray[np.bool_],
    *,
    pictures: int = PICTURES,
    watch: Callable[[int], None] = lambda _: None,
) -> bytes:
    """The archive, the same bytes for the same arguments.

    Args:
        stage: with the car.
        plan: whose ranges of views are drawn from.
        result: float32 (side, side, 3), sRGB in [0, 1].
        cover: bool (side, side), texels that textures replace.
        pictures: how many views are drawn; those that show too little of the car are left out.
        watch: called before each with how many are done; may raise.
    """
    rng = np.random.default_rng((plan.seed, _STREAM))
    files: dict[str, bytes] = {}
    images: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for number in range(pictures):
        watch(number)
        condition = draw_condition(plan, len(stage.backgrounds), rng)
        scene = make_scene(stage.mesh, condition.camera, stage.texture_size)
        if scene.view.box is None or float(scene.view.weights.sum()) < LEAST_PIXELS:
            continue
        texture = result
        if number % 2:
            drawn = random_texture(cover.shape[0], _STREAM + plan.seed + number)  # others than are measured
            texture = np.where(cover[..., None], drawn, result)
        name = f"images/{number:03d}-{'random' if number % 2 else 'result'}.png"
        background = stage.backgrounds.see(condition.background, condition.camera)
        frame = make_frame(scene, condition.light, condition.materials, background)
        files[name] = encode_png(to_bytes(finish_frame(frame, texture.astype(np.float32), stage.mask)))
        images.append({"id": number + 1, "file_name": name, "width": stage.side, "height": stage.side})
        labels.append(_label(number + 1, scene.view.box))
    document = {
        "info": {"description": SIMULATION},
        "images": images,
        "annotations": labels,
        "categories": [{"id": 1, "name": CLASS}],
    }
    return pack_zip({"annotations.json": orjson.dumps(document), **files}.items())


def draw_condition(plan: CamouflagePlan, backgrounds: int, rng: np.random.Generator) -> LearnedCondition:
    """A view, a light and a paint as steps have them, which are apart from those of the grid, and a background."""
    camera = draw_camera(plan.views, rng)
    light, materials = draw_light(draw_sun(rng), rng), draw_materials(rng)
    return LearnedCondition(camera, light, materials, int(rng.integers(backgrounds)))


def _label(image: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    left, top, right, bottom = box
    sides = [left, top, right - left, bottom - top]
    return {
        "id": image,
        "image_id": image,
        "category_id": 1,
        "bbox": sides,
        "area": sides[2] * sides[3],
        "iscrowd": 0,
    }
