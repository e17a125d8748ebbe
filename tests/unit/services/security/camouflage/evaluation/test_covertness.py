"""Colour differences: those that are published, and what of them is said of a texture."""

from __future__ import annotations

import numpy as np
import pytest

from services.security.camouflage.evaluation.covertness import colour_difference, measure_covertness
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.planning.plan import Cover
from services.security.camouflage.rendering.colours import to_lab
from services.security.camouflage.textures.covers import CoverMask, make_cover
from services.security.camouflage.textures.paints import plain_texture
from services.security.camouflage.textures.palettes import Palette


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_differences_are_those_of_sharma_wu_and_dalal_2005(
    first: tuple[float, ...], second: tuple[float, ...], difference: float
) -> None:
    assert colour_difference(np.array(first), np.array(second)) == pytest.approx(difference, abs=1e-4)


@pytest.fixture(scope="module")
def cover() -> CoverMask:
    sedan = make_car("sedan")
    return make_cover(sedan, map_atlas(sedan, 128, 128), Cover())


def test_a_texture_in_a_colour_of_the_background_does_not_differ_from_it(cover: CoverMask) -> None:
    colours = (np.array([[90, 90, 92], [60, 80, 50]]) / 255).astype(np.float32)
    palette = Palette(colours, np.array([0.5, 0.5], np.float32))
    same = measure_covertness(plain_texture((60, 80, 50), 128), cover, palette)
    assert same["ciede2000"] == pytest.approx(0, abs=1e-3)
    assert same["variation"] == 0
    red = measure_covertness(plain_texture((200, 30, 30), 128), cover, palette)
    lab = to_lab(np.concatenate((np.array([[200, 30, 30]], np.float32) / 255, colours)))
    expected = min(float(colour_difference(lab[0], one)) for one in lab[1:])
    assert red["ciede2000"] == pytest.approx(expected, abs=1e-3)
    noisy = np.random.default_rng(0).uniform(size=(128, 128, 3)).astype(np.float32)
    assert measure_covertness(noisy, cover, palette)["variation"] == pytest.approx(1 / 3, abs=0.02)
