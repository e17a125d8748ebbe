"""Covers: exact shares of the surface, in one chart each."""

from __future__ import annotations

import numpy as np
import pytest

from services.security.camouflage.meshes.atlas_maps import AtlasMaps, map_atlas
from services.security.camouflage.meshes.cars import CARS, CarName, make_car
from services.security.camouflage.planning.plan import Cover, StickerPlace
from services.security.camouflage.textures.covers import CoverTooLarge, make_cover

SIDE = 256


@pytest.fixture(scope="module")
def maps() -> dict[CarName, AtlasMaps]:
    return {name: map_atlas(make_car(name), SIDE, SIDE) for name in CARS}


def test_a_full_cover_is_all_paint(maps: dict[CarName, AtlasMaps]) -> None:
    mesh = make_car("sedan")
    cover = make_cover(mesh, maps["sedan"], Cover())
    assert cover.share == 1
    assert (cover.mask == maps["sedan"].mask).all()
    assert float(cover.areas.sum()) == pytest.approx(float(mesh.areas[mesh.paintable].sum()), rel=0.01)


@pytest.mark.parametrize("name", CARS)
def test_stickers_have_the_share_that_was_asked_for(maps: dict[CarName, AtlasMaps], name: CarName) -> None:
    mesh = make_car(name)
    for share, places in ((0.1, ("sides",)), (0.2, ("sides", "roof")), (0.4, ("sides", "bonnet", "roof"))):
        cover = make_cover(mesh, maps[name], Cover(mode="sticker", share=share, places=places))
        assert cover.share == pytest.approx(share, abs=0.01)
        # The share is one of the mesh's own square metres, not of texels.
        assert float(cover.areas.sum()) / float(mesh.areas[mesh.paintable].sum()) == pytest.approx(share, abs=0.015)
        assert not (cover.mask & ~maps[name].painted).any()


def test_a_sticker_stays_in_one_chart_and_one_rectangle(maps: dict[CarName, AtlasMaps]) -> None:
    mesh = make_car("van")
    cover = make_cover(mesh, maps["van"], Cover(mode="sticker", share=0.3, places=("sides", "roof", "rear")))
    claimed = np.zeros_like(cover.mask)
    for one in cover.rectangles:
        rows, columns = np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5
        down, across = (rows >= one.top) & (rows < one.bottom), (columns >= one.left) & (columns < one.right)
        inside = down[:, None] & across & cover.mask
        assert set(np.unique(cover.charts[inside])) == {one.chart}
        claimed |= inside
    assert (claimed == cover.mask).all()
    assert [one.place for one in cover.rectangles].count("sides") == 2


@pytest.mark.parametrize(
    ("place", "axis", "sign"), [("sides", 1, 0), ("bonnet", 2, 1), ("roof", 2, 1), ("rear", 0, -1)]
)
def test_places_are_where_their_names_say(
    maps: dict[CarName, AtlasMaps], place: StickerPlace, axis: int, sign: int
) -> None:
    mesh = make_car("van")
    cover = make_cover(mesh, maps["van"], Cover(mode="sticker", share=0.05, places=(place,)))
    faces = maps["van"].faces[cover.mask]
    first, second, third = np.moveaxis(mesh.corners[faces], 1, 0)
    normals = np.cross(second - first, third - first)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert (np.abs(normals[:, axis]) > 0.6).all()
    if sign:
        assert (normals[:, axis] * sign > 0).all()
    middles = mesh.corners[faces].mean(axis=1)
    if place == "bonnet":
        assert middles[:, 0].min() > mesh.centre[0]
    if place == "roof":
        assert middles[:, 2].min() > 0.75 * mesh.bounds[1][2]
    if place == "rear":
        assert middles[:, 0].max() < mesh.centre[0]


def test_a_share_that_is_not_there_is_refused_with_the_one_that_is(maps: dict[CarName, AtlasMaps]) -> None:
    mesh = make_car("sedan")
    with pytest.raises(CoverTooLarge) as raised:
        make_cover(mesh, maps["sedan"], Cover(mode="sticker", share=0.6, places=("roof",)))
    largest = raised.value.largest
    assert 0.05 < largest < 0.3
    reached = make_cover(mesh, maps["sedan"], Cover(mode="sticker", share=largest - 1e-4, places=("roof",)))
    assert reached.share == pytest.approx(largest, abs=0.005)
