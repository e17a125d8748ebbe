"""A set to harden a detector with: the car under textures and in conditions that the report does not measure with.

The archive holds PNGs and one document of COCO with the box of the car on each, class `vehicle`: what
`/v1/perception/adaptations` takes as a labelled `source`, and `/v1/perception/detections/evaluations` measures on.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.camouflage.conditions import TEST_LIGHTS, Condition, draw_camera
from services.security.camouflage.measuring import LEAST_PIXELS, Stage, random_texture
from services.security.camouflage.notices import SIMULATION
from services.security.camouflage.plan import CamouflagePlan
from shared.imaging.pictures import encode_png

Floats = NDArray[np.float32]

PICTURES: Final = 48
"""Of a set: half with the result, half with random textures of the same area, each its own."""

CLASS: Final = "vehicle"

_STREAM: Final = 48_611
_DATE: Final = (1980, 1, 1, 0, 0, 0)


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
        condition = _draw(plan, len(stage.backgrounds), rng)
        scene = stage.see(condition)
        if scene.view.box is None or float(scene.view.weights.sum()) < LEAST_PIXELS:
            continue
        texture = result
        if number % 2:
            texture = np.where(cover[..., None], random_texture(cover.shape[0], plan.seed + number), result)
        name = f"images/{number:03d}-{'random' if number % 2 else 'result'}.png"
        files[name] = encode_png(stage.paint(scene, condition, [texture.astype(np.float32)])[0])
        images.append({"id": number + 1, "file_name": name, "width": stage.side, "height": stage.side})
        labels.append(_label(number + 1, scene.view.box))
    document = {
        "info": {"description": SIMULATION},
        "images": images,
        "annotations": labels,
        "categories": [{"id": 1, "name": CLASS}],
    }
    return _pack({"annotations.json": orjson.dumps(document), **files})


def _draw(plan: CamouflagePlan, backgrounds: int, rng: np.random.Generator) -> Condition:
    """A view that neither steps nor measures have but by chance."""
    light = list(TEST_LIGHTS)[int(rng.integers(len(TEST_LIGHTS)))]
    return Condition(draw_camera(plan.views, rng), light, int(rng.integers(backgrounds)))


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


def _pack(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()
