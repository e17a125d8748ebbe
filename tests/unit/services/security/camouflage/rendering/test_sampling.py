"""Texture: the right texels, at the right size, and never what lies between charts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.sampling import level_sizes, plan_samples, sample, stack_levels
from services.security.camouflage.rendering.views import see_mesh
from tests.unit.services.security.camouflage.surfaces import make_box, make_wall


def wall_view(pixels_a_side: int) -> tuple[Camera, int]:
    """A camera before a wall of 2 m, which then has so many pixels a side."""
    distance, side = 20.0, pixels_a_side + 16
    angle = 2 * np.degrees(np.arctan(side / pixels_a_side / distance))
    return Camera(0, 0, distance, float(angle), side, side, target=(0, 0, 1)), side


def test_levels_halve_down_to_an_odd_side() -> None:
    assert level_sizes(48, 32) == [(48, 32), (24, 16), (12, 8), (6, 4), (3, 2)]
    assert len(level_sizes(1024, 1024)) == 7


def test_a_painted_texel_is_found_where_it_projects_to() -> None:
    camera, side = wall_view(128)
    view = see_mesh(make_wall(), camera)
    samples = plan_samples(view.uv, view.footprints, 64, 64)
    for row, column in ((5, 9), (40, 20), (63, 0), (0, 63)):
        texture = np.zeros((64, 64, 3), np.float32)
        texture[row, column] = 1
        seen = np.zeros(side * side, np.float32)
        seen[view.pixels] = sample(stack_levels(texture, np.ones((64, 64), bool)), samples)[:, 0]
        # The texel's middle on the wall: v upwards, u to the right as seen from the front, where y points to the right.
        point = np.array([[0, (column + 0.5) / 64 * 2 - 1, (1 - (row + 0.5) / 64) * 2]])
        expected = camera.project(point)[0][0]
        lit = np.flatnonzero(seen > 0)
        places = np.stack((lit % side, lit // side), axis=1) + 0.5
        found = np.average(places, axis=0, weights=seen[lit])
        # A texel at the border is repeated outwards, which moves its middle.
        assert np.abs(found - expected).max() < (0.02 if 0 < row < 63 else 0.6)


@pytest.mark.parametrize("times", [2, 4, 8])
def test_a_distant_texture_is_averaged_over_areas(times: int) -> None:
    camera, side = wall_view(64)
    view = see_mesh(make_wall(), camera)
    texture = np.random.default_rng(1).random((64 * times, 64 * times, 3)).astype(np.float32)
    samples = plan_samples(view.uv, view.footprints, *texture.shape[:2])
    seen = sample(stack_levels(texture, np.ones(texture.shape[:2], bool)), samples)
    means = texture.reshape(64, times, 64, times, 3).mean(axis=(1, 3))
    rows, columns = view.pixels // side - 8, view.pixels % side - 8
    assert len(view.pixels) == 64 * 64
    assert seen == pytest.approx(means[rows, columns], abs=0.02)


def test_a_near_texture_is_interpolated() -> None:
    camera, _ = wall_view(128)
    view = see_mesh(make_wall(), camera)
    ramp: NDArray[np.float32] = np.broadcast_to(
        (np.arange(32, dtype=np.float32)[None, :, None] + np.float32(0.5)) / 32, (32, 32, 3)
    )
    samples = plan_samples(view.uv, view.footprints, 32, 32)
    seen = sample(stack_levels(ramp, np.ones((32, 32), bool)), samples)[:, 0]
    inner = (view.uv[:, 0] > 1 / 32) & (view.uv[:, 0] < 31 / 32)
    assert seen[inner] == pytest.approx(view.uv[inner, 0], abs=1e-5)


def test_footprints_are_differences_of_places() -> None:
    camera = Camera(60, 20, 8.0, width=200, height=200, target=(0, 0, 1))
    view = see_mesh(make_box(), camera)
    # Pixels that one face fills: where two do, the middle of the pixel is put onto the nearer.
    whole = (view.weights == 1) & (view.barycentric.min(axis=1) > 0.02)
    index = {int(pixel): place for place, pixel in enumerate(view.pixels) if whole[place]}
    errors = []
    for pixel, place in index.items():
        beside = index.get(pixel + 1)
        if beside is not None and view.faces[beside] == view.faces[place]:
            change = view.uv[beside] - view.uv[place]
            errors.append(np.abs(change - view.footprints[place, 0]).max() / np.abs(change).max())
    assert len(errors) > 500
    assert max(errors) < 0.03


def test_what_lies_between_charts_never_shows() -> None:
    mask = np.zeros((64, 64), bool)
    mask[8:25, 8:31] = True
    texture = np.full((64, 64, 3), 0.25, np.float32)
    texture[~mask] = 1.0
    stacked, start = stack_levels(texture, mask), 0
    for height, width in level_sizes(64, 64):
        level = stacked[start : start + height * width, 0].reshape(height, width)
        counted = mask.reshape(height, 64 // height, width, 64 // width).any(axis=(1, 3))
        assert level[counted] == pytest.approx(0.25, abs=1e-6)
        start += height * width
