"""What textures are measured under is not what they were made under."""

from __future__ import annotations

import numpy as np
import pytest

from services.security.camouflage.measurement import conditions
from services.security.camouflage.measurement.conditions import (
    TEST_LIGHTS,
    Pictures,
    Streets,
    draw_camera,
    make_test_grid,
)
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.planning.plan import Views
from services.security.camouflage.rendering.light import make_daylight

VIEWS = Views()


def test_no_training_camera_stands_where_tests_are() -> None:
    rng = np.random.default_rng(0)
    cameras = [draw_camera(VIEWS, rng) for _ in range(500)]
    azimuths = np.array([one.azimuth for one in cameras])
    away = np.abs((azimuths + 7.5) % 15 - 7.5)
    assert away.min() >= 2.5
    # All around nevertheless, and within the ranges of the plan.
    assert (np.bincount((azimuths // 30).astype(int), minlength=12) > 15).all()
    assert min(one.distance for one in cameras) >= 7
    assert max(one.elevation for one in cameras) <= 30
    assert {one.camera.azimuth % 15 for one in make_test_grid(VIEWS)} == {0}


def test_no_training_light_is_one_of_the_tests() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        sun = conditions.draw_sun(rng)
        assert 25 <= sun[1] <= 65
        light, materials = conditions.draw_light(sun, rng), conditions.draw_materials(rng)
        assert light.level.max() <= np.pi * 1.0 * 1.15 + 1e-6
        assert 0.2 <= materials[Part.BODY].roughness <= 0.5
    for light, _ in TEST_LIGHTS.values():
        share = np.pi * light.sky[1] / light.level[1]
        exposure = light.level[1] / np.pi
        inside = 25 <= light.elevation <= 65 and 0.2 <= share <= 0.7 and 0.55 <= exposure <= 1.0
        assert not inside
    inside_light = make_daylight(0, 45, sky_share=0.5, exposure=0.8)
    assert np.pi * inside_light.sky[1] / inside_light.level[1] == pytest.approx(0.5, abs=1e-6)


def test_the_grid_has_every_combination_once() -> None:
    grid = make_test_grid(VIEWS)
    keys = {(one.camera.azimuth, one.camera.elevation, one.camera.distance, one.light) for one in grid}
    assert len(grid) == len(keys) == 24 * 4 * 3 * 4
    assert {one.background for one in grid} == set(range(20))
    few = make_test_grid(VIEWS, azimuth_step=90, elevations=(10,), distances=(9,), lights=("overcast",), backgrounds=3)
    assert [one.camera.azimuth for one in few] == [0, 90, 180, 270]
    assert [one.background for one in few] == [0, 1, 2, 0]
    with pytest.raises(ValueError, match="multiples of 15"):
        make_test_grid(VIEWS, azimuth_step=20)


def test_backgrounds_follow_from_the_generator() -> None:
    camera = draw_camera(VIEWS, np.random.default_rng(1))
    rows = np.linspace(0, 255, 90).astype(np.uint8)
    picture = np.broadcast_to(rows[:, None, None], (90, 120, 3)).copy()
    picture[:, :60, 0] = 0
    for backgrounds in (Streets(), Pictures([picture])):
        drawn = [backgrounds.draw(camera, np.random.default_rng(seed)) for seed in (1, 1, 2)]
        assert drawn[0].shape == (128, 128, 3)
        assert (drawn[0] == drawn[1]).all()
        assert (drawn[0] != drawn[2]).any()
    assert conditions.TRAINING_STREETS[1] <= conditions.TEST_STREETS[0]
    sides = {bool(Pictures([picture]).draw(camera, np.random.default_rng(seed))[0, 0, 0] > 0.0) for seed in range(12)}
    assert sides == {True, False}
