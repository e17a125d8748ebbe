"""The cars: closed, symmetric, standing on the ground, and laid flat without folds or overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from services.security.camouflage.meshes.atlas import MARGIN
from services.security.camouflage.meshes.atlas_maps import draw_atlas, map_atlas
from services.security.camouflage.meshes.cars import CARS, CarName, make_car
from services.security.camouflage.meshes.mesh import Mesh, Part
from services.security.camouflage.meshes.topology import connect_faces, is_closed, signed_volume

SIZES: dict[CarName, tuple[float, float, float]] = {
    "sedan": (4.6, 2.06, 1.48),
    "van": (4.9, 2.18, 2.0),
    "pickup": (5.3, 2.14, 1.81),
}

cars = pytest.mark.parametrize("name", CARS)


@cars
def test_it_has_the_size_of_its_kind_and_stands_on_the_ground(name: CarName) -> None:
    low, high = make_car(name).bounds
    assert high - low == pytest.approx(SIZES[name], abs=0.02)
    assert low[2] == 0


@cars
def test_every_piece_is_closed_and_its_inside_is_inside(name: CarName) -> None:
    mesh = make_car(name)
    assert is_closed(mesh.faces)
    pieces = connect_faces(mesh.faces, np.zeros(len(mesh.faces), np.int64))
    # The body, four wheels, two mirrors and the block below.
    assert pieces.max() + 1 == 8
    assert all(signed_volume(mesh.vertices, mesh.faces[pieces == piece]) > 0 for piece in range(8))


@cars
def test_left_and_right_are_alike(name: CarName) -> None:
    mesh = make_car(name)
    assert cKDTree(mesh.vertices).query(mesh.vertices * [1, -1, 1])[0].max() < 1e-6
    left = mesh.corners.mean(axis=1)[:, 1] > 1e-4
    right = mesh.corners.mean(axis=1)[:, 1] < -1e-4
    for part in Part:
        chosen = mesh.parts == part
        # Cells in the middle are cut along one of their diagonals.
        assert mesh.areas[chosen & left].sum() == pytest.approx(mesh.areas[chosen & right].sum(), rel=5e-3)


@cars
def test_it_has_all_parts_in_sensible_shares(name: CarName) -> None:
    mesh = make_car(name)
    shares = {part: mesh.areas[mesh.parts == part].sum() / mesh.areas.sum() for part in Part}
    # Much of the rest is the underside.
    assert 0.2 < shares[Part.BODY] < 0.6
    assert 10 < mesh.areas[mesh.paintable].sum() < 16
    assert 0.05 < shares[Part.WINDOW] < 0.2
    assert 0.05 < shares[Part.WHEEL] < 0.2
    assert 0.002 < shares[Part.LIGHT] < 0.03
    assert 1000 < len(mesh.faces) < 8000


def overlaps(mesh: Mesh, side: int) -> int:
    """Texels with two faces in their middle."""
    return int((draw_atlas(mesh, side, side)[1] > 1).sum())


@cars
def test_no_two_faces_share_a_place_of_the_texture(name: CarName) -> None:
    mesh = make_car(name)
    assert overlaps(mesh, 1024) == 0
    assert (mesh.uv_areas > 0).all()


def test_an_overlap_would_be_found() -> None:
    mesh = make_car("sedan")
    uv = mesh.uv.copy()
    uv[mesh.charts == 1] = uv[mesh.charts == 0][: (mesh.charts == 1).sum()]
    assert overlaps(Mesh(mesh.vertices, mesh.faces, uv, mesh.parts, mesh.colours, mesh.charts), 256) > 1000


@cars
def test_charts_keep_their_distance(name: CarName) -> None:
    mesh, side = make_car(name), 512
    charts = np.where((faces := draw_atlas(mesh, side, side)[0]) >= 0, mesh.charts[faces], -1)
    reach = int(MARGIN * side) - 2
    for shift in range(1, reach + 1):
        for first, second in ((charts[shift:], charts[:-shift]), (charts[:, shift:], charts[:, :-shift])):
            assert not ((first >= 0) & (second >= 0) & (first != second)).any()
    border = np.concatenate((charts[:reach].ravel(), charts[-reach:].ravel(), charts[:, :reach].ravel()))
    assert (border < 0).all()


@cars
def test_paint_has_as_much_texture_as_surface(name: CarName) -> None:
    mesh = make_car(name)
    # Slivers of less than a square centimetre aside.
    painted = mesh.paintable & (mesh.areas > 1e-4)
    ratio = mesh.uv_areas[painted] / mesh.areas[painted]
    mean = np.average(ratio, weights=mesh.areas[painted])
    assert ratio.min() / mean > 1 / 1.7
    assert ratio.max() / mean < 1.2
    assert mesh.areas[mesh.paintable].sum() - mesh.areas[painted].sum() < 0.02


@cars
def test_maps_know_the_painted_surface(name: CarName) -> None:
    mesh = make_car(name)
    maps = map_atlas(mesh, 512, 512)
    assert maps.areas.sum() == pytest.approx(mesh.areas[mesh.paintable].sum(), rel=0.02)
    assert maps.painted.mean() == pytest.approx(mesh.uv_areas[mesh.paintable].sum(), rel=0.02)
    assert not (maps.painted & ~maps.mask).any()
