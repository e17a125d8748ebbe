"""Light: what sun and sky give to surfaces that can be computed by hand, shadows, and the ground."""

from __future__ import annotations

import numpy as np
import pytest

from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.rendering.backgrounds import draw_street, fit_background
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.ground import light_ground, see_ground
from services.security.camouflage.rendering.light import (
    MATERIALS,
    Light,
    Material,
    expose,
    make_daylight,
    shade,
)
from services.security.camouflage.rendering.occlusion import direction_of, make_depth_map
from services.security.camouflage.rendering.views import see_mesh
from tests.unit.services.security.camouflage.surfaces import make_box, make_sphere

MATT = dict.fromkeys(Part, Material(1.0, f0=0.0))
BLACK_GROUND = (0.0, 0.0, 0.0)


def test_a_matt_surface_follows_the_cosine_to_the_sun() -> None:
    light = Light(0.0, 30.0, (np.pi, np.pi, np.pi), (0.0, 0.0, 0.0), BLACK_GROUND)
    view = see_mesh(make_sphere(), Camera(20, 20, 6.0, target=(0, 0, 1)))
    cosine = view.normals @ direction_of(0, 30).astype(np.float32)
    shading = shade(view, expose(view), light, MATT)
    lit = cosine > 0.3
    assert shading.gain[lit, 0] == pytest.approx(cosine[lit], rel=0.08)
    assert shading.gain[cosine < -0.05].max() == 0


def test_a_surface_in_even_light_has_its_own_colour() -> None:
    """Sky above, ground as bright below: white paint is as bright as they are, rough or shiny."""
    light = Light(0.0, 90.0, (0.0, 0.0, 0.0), (0.7, 0.7, 0.7), (1.0, 1.0, 1.0))
    view = see_mesh(make_sphere(), Camera(20, 10, 6.0, target=(0, 0, 1)))
    for material in (Material(1.0), Material(0.2), Material(0.3, metallic=0.5)):
        shading = shade(view, expose(view), light, dict.fromkeys(Part, material))
        reflected = shading.gain + shading.offset
        assert reflected.max() <= 0.7 + 1e-5
        # A rough metal loses what is reflected more than once.
        assert np.median(reflected) == pytest.approx(0.7, abs=0.02)


def test_level_ground_is_as_bright_as_the_exposure() -> None:
    for share in (0.0, 0.4, 1.0):
        light = make_daylight(30, 40, sky_share=share, warmth=0.0, exposure=0.8)
        assert light.level / np.pi == pytest.approx([0.8] * 3, rel=1e-5)


def test_a_box_throws_its_shadow_where_it_must() -> None:
    box = make_box((2, 2, 2))
    sun = make_depth_map(box, direction_of(0, 45))
    # The sun stands at x, 45 degrees high: the shadow reaches from the box to x = -3.
    x = np.array([-1.5, -2.5, -2.9, -3.1, -4.0, 1.2], np.float32)
    points = np.stack((x, np.zeros(6, np.float32), np.zeros(6, np.float32)), axis=1)
    assert sun.visibility(points, np.zeros_like(points)) == pytest.approx([0, 0, 0, 1, 1, 1])
    faces = np.array([[1, 0, 1], [-1, 0, 1], [0, 0, 2]], np.float32)
    normals = np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 1]], np.float32)
    assert sun.visibility(faces, normals) == pytest.approx([1, 0, 1])


def test_a_lit_surface_does_not_shade_itself() -> None:
    view = see_mesh(make_sphere(), Camera(100, 30, 6.0, target=(0, 0, 1)))
    towards = direction_of(0, 40)
    facing = view.normals @ towards.astype(np.float32) > 0.25
    visible = make_depth_map(make_sphere(), towards).visibility(view.positions, view.normals)
    assert visible[facing].mean() > 0.999
    assert visible[view.normals @ towards.astype(np.float32) < -0.25].max() == 0


def test_the_ground_is_dark_below_a_car_and_untouched_far_away() -> None:
    mesh, camera = make_car("sedan"), Camera(90, 30, 12.0)
    view = see_mesh(mesh, camera)
    light = make_daylight(-90, 45)
    shares = light_ground(see_ground(view), mesh, light)
    # The sun is on the right, the camera on the left: the shadow falls towards it.
    before = camera.project(np.array([0.0, 1.4, 0.0]))[0].astype(int)
    assert shares[before[1], before[0]].max() < 0.5
    far = camera.project(np.array([0.0, -8.0, 0.0]))[0].astype(int)
    assert shares[far[1], far[0]].min() > 0.97
    assert 0 <= shares.min() <= shares.max() <= 1 + 1e-6


def test_a_picture_without_a_car_in_a_pixel_is_its_background() -> None:
    mesh, camera = make_car("van"), Camera(45, 8, 14.0)
    scene = make_scene(mesh, camera, (64, 64))
    background = draw_street(camera, 4)
    light = make_daylight(45, 80)
    picture = finish_frame(
        make_frame(scene, light, MATERIALS, background), np.ones((64, 64, 3), np.float32), np.ones((64, 64), bool)
    )
    above = np.arange(128)[:, None] < camera.horizon - 1
    free = (scene.view.coverage == 0) & above
    assert free.sum() > 500
    assert picture[free] == pytest.approx(background[free], abs=1e-3)


def test_sun_and_camera_together_may_turn_around_a_sphere() -> None:
    mesh = make_sphere()
    pictures = []
    for turn in (0, 90):
        camera = Camera(20 + turn, 15, 6.0, target=(0, 0, 1))
        scene = make_scene(mesh, camera, (64, 64))
        frame = make_frame(scene, make_daylight(60 + turn, 40), MATERIALS, np.full((128, 128, 3), 0.5, np.float32))
        pictures.append(finish_frame(frame, np.full((64, 64, 3), 0.6, np.float32), np.ones((64, 64), bool)))
    assert np.abs(pictures[0] - pictures[1]).mean() < 2e-3


def test_the_horizon_of_a_picture_is_put_where_the_cameras_is() -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:120] = 255
    camera = Camera(0, 5, 10.0, 40, 128, 96)
    fitted = fit_background(picture, 0.4, camera, zoom=2.0)
    bright = (fitted[:, 64, 0] > 0.5).sum()
    assert bright == pytest.approx(camera.horizon, abs=1)
    assert fitted.shape == (96, 128, 3)


@pytest.mark.parametrize("elevation", [0.0, -5.0])
def test_a_sun_below_the_horizon_is_refused(elevation: float) -> None:
    with pytest.raises(ValueError, match="above the horizon"):
        make_daylight(0, elevation)
