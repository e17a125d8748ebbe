"""Sets to harden with: the same bytes each time, in views and lights that nothing is measured with."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from services.perception.detection.annotations.importing import import_pictures
from services.security.camouflage.measurement.conditions import (
    AZIMUTH_STEP,
    ROUGHNESSES,
    SUN_ELEVATIONS,
    TEST_LIGHTS,
)
from services.security.camouflage.measurement.grids import HeldOutBackgrounds
from services.security.camouflage.measurement.measuring import Stage
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.planning.plan import CamouflagePlan, Views
from services.security.camouflage.reporting.hardening import CLASS, LearnedCondition, draw_condition, make_hardening_set

SIDE = 96
TEXTURE = 128
PLAN = CamouflagePlan(views=Views(side=SIDE), seed=3)


def archive(stage: Stage, plan: CamouflagePlan = PLAN) -> bytes:
    red = np.broadcast_to(np.array((1, 0, 0), np.float32), (TEXTURE, TEXTURE, 3))
    return make_hardening_set(stage, plan, red, np.ones((TEXTURE, TEXTURE), bool), pictures=4)


@pytest.fixture(scope="module")
def stage() -> Stage:
    mesh = make_car("sedan")
    return Stage(mesh, map_atlas(mesh, TEXTURE, TEXTURE).mask, HeldOutBackgrounds(), SIDE)


def draw(count: int) -> list[LearnedCondition]:
    rng = np.random.default_rng(0)
    return [draw_condition(PLAN, 5, rng) for _ in range(count)]


def test_the_same_arguments_give_the_same_bytes(stage: Stage) -> None:
    first = archive(stage)
    assert archive(stage) == first
    assert archive(stage, PLAN.model_copy(update={"seed": 4})) != first


def test_boxes_are_of_the_car(stage: Stage) -> None:
    content = archive(stage)
    imported = import_pictures(content, pointer="/body/source/0")
    assert imported.annotated.class_names == (CLASS,)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        for name, picture in imported.annotated.pictures.items():
            pixels = np.asarray(Image.open(io.BytesIO(packed.read(name))).convert("RGB")).astype(int)
            reddish = pixels[..., 0] - pixels[..., 1:].max(axis=2) > 40
            ((left, top, right, bottom),) = picture.boxes.astype(int)
            outside = np.ones((SIDE, SIDE), bool)
            outside[top:bottom, left:right] = False
            assert not reddish[outside].any(), name
            assert name.endswith("random.png") or reddish[~outside].mean() > 0.1, name


def test_lights_and_views_are_none_of_the_grid() -> None:
    drawn = draw(200)
    assert not {one.light for one in drawn} & {light for light, _ in TEST_LIGHTS.values()}
    low, high = SUN_ELEVATIONS
    heights = [one.light.elevation for one in drawn]
    assert low <= min(heights) < low + 5 < high - 5 < max(heights) <= high
    assert all(min(one.camera.azimuth % AZIMUTH_STEP, -one.camera.azimuth % AZIMUTH_STEP) > 1 for one in drawn)
    roughnesses = [one.materials[Part.BODY].roughness for one in drawn]
    assert ROUGHNESSES[0] <= min(roughnesses) < max(roughnesses) <= ROUGHNESSES[1]
    assert {one.background for one in drawn} == set(range(5))
