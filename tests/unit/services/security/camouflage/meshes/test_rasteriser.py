"""What is seen where: against rays that are cut with every triangle, a sphere, and what is in front of what."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.meshes.rasteriser import find_nearest, make_planes
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.views import see_mesh
from tests.unit.services.security.camouflage.surfaces import make_box, make_mesh, make_sphere, make_wall


def cast(mesh: Mesh, camera: Camera, pixels: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The face that each ray meets first and its depth (Moeller and Trumbore 1997), -1 and infinity for none."""
    rays = camera.rays(pixels)
    first, second, third = np.moveaxis(mesh.corners.astype(np.float64), 1, 0)
    found, nearest = np.full(len(rays), -1), np.full(len(rays), np.inf)
    for index, ray in enumerate(rays):
        across = np.cross(ray, third - first)
        determinant = np.einsum("fk,fk->f", across, second - first)
        offset = camera.position - first
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.einsum("fk,fk->f", offset, across) / determinant
            sideways = np.cross(offset, second - first)
            v = sideways @ ray / determinant
            depth = np.einsum("fk,fk->f", third - first, sideways) / determinant
        hit = (determinant > 1e-12) & (u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0)
        if hit.any():
            found[index] = np.flatnonzero(hit)[depth[hit].argmin()]
            nearest[index] = depth[hit].min()
    return found, nearest


@pytest.mark.parametrize(("azimuth", "elevation"), [(30.0, 10.0), (200.0, 40.0)])
def test_the_faces_are_those_that_rays_meet(azimuth: float, elevation: float) -> None:
    mesh = make_car("pickup")
    camera = Camera(azimuth, elevation, 8.0, width=96, height=96)
    points, depth = camera.project(mesh.corners.astype(np.float64))
    found, nearest = find_nearest(points, 1 / depth, make_planes(points, cull=True), width=96, height=96)
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(20, 76, (2, 600))
    expected, distance = cast(mesh, camera, np.stack((columns, rows), axis=1) + 0.5)
    assert (expected >= 0).mean() > 0.4
    same = found[rows, columns] == expected
    # Where the middle of a pixel lies on an edge, either face is right.
    assert same.mean() > 0.995
    assert (1 / nearest[rows, columns])[expected >= 0] == pytest.approx(distance[expected >= 0], rel=1e-6)


def test_a_sphere_has_its_outline_depth_and_normals() -> None:
    camera = Camera(20, 25, 6.0, 40, 160, 160, target=(0, 0, 1))
    view = see_mesh(make_sphere(1.0), camera)
    # The outline of a sphere is a cone whose sine is radius over distance.
    radius = camera.focal_length * np.tan(np.arcsin(1 / 6))
    assert view.coverage.sum() == pytest.approx(np.pi * radius**2, rel=0.005)
    outwards = view.positions - np.array([0, 0, 1], np.float32)
    facing = np.einsum("nk,nk->n", outwards, view.directions) > 0.2
    assert np.linalg.norm(outwards, axis=1) == pytest.approx(1, abs=0.005)
    assert np.einsum("nk,nk->n", view.normals, outwards)[facing].min() > 0.99
    projected, depth = camera.project(view.positions.astype(np.float64))
    assert depth == pytest.approx(view.depths, abs=1e-4)
    pixels = np.stack((view.pixels % 160, view.pixels // 160), axis=1) + 0.5
    # At the outline a fragment's middle may lie beside its face, and is put onto it.
    distance = np.abs(projected - pixels).max(axis=1)
    assert (distance < 0.55).mean() > 0.99
    assert distance.max() < 1.5


def test_what_is_nearer_hides_what_is_farther() -> None:
    near, far = make_box((0.5, 0.5, 0.5), 1.0), make_box((0.5, 2.0, 2.0), 0.0)
    vertices = np.concatenate((near.vertices + np.array([1.5, 0, 0]), far.vertices))
    for order in ((near, far), (far, near)):
        offset = {id(near): 0, id(far): len(near.vertices)}
        faces = np.concatenate([mesh.faces + offset[id(mesh)] for mesh in order])
        mesh = make_mesh(vertices, faces)
        view = see_mesh(mesh, Camera(0, 0, 8.0, 40, 64, 64, target=(0, 0, 1)))
        # The camera looks at the near box's lower half, straight ahead.
        middle = view.pixels == 30 * 64 + 32
        assert view.positions[middle, 0] == pytest.approx(1.75, abs=1e-4)
        beside = view.pixels == 32 * 64 + 26
        assert view.positions[beside, 0] == pytest.approx(0.25, abs=1e-4)


def test_a_pixel_on_an_edge_is_covered_in_part() -> None:
    # A wall of 2 m, 100 pixels a metre at its depth, its edges in the middle of a pixel.
    camera = Camera(0, 0, 10.0, 2 * np.degrees(np.arctan(0.05)), 300, 100, target=(0, 0.005, 1))
    coverage = see_mesh(make_wall(), camera).coverage
    partly = np.flatnonzero((coverage[50] > 0) & (coverage[50] < 1))
    assert coverage[50, partly] == pytest.approx([0.5, 0.5])
    assert partly[1] - partly[0] == 200
    assert coverage[50].sum() == 200


def test_a_camera_inside_of_the_mesh_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1\.8 m"):
        see_mesh(make_box(), Camera(0, 10, 1.0))


def test_the_horizon_is_where_far_ground_is() -> None:
    camera = Camera(30, 12, 9.0, 40, 128, 96, shift=(0.1, -0.05))
    far, _ = camera.project(camera.position * [1, 1, 0] - camera.position[[0, 1, 2]] * [1e7, 1e7, 0])
    assert far[1] == pytest.approx(camera.horizon, abs=1e-3)
    target, _ = camera.project(np.array(camera.target))
    assert target == pytest.approx(camera.principal_point)


def test_an_open_surface_is_seen_from_behind_with_its_normal_turned() -> None:
    view = see_mesh(make_wall(), Camera(180, 0, 8.0, target=(0, 0, 1)))
    assert view.coverage.sum() > 1000
    assert view.normals[:, 0] == pytest.approx(-1, abs=1e-5)
