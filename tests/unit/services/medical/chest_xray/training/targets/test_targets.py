"""Lung fields, the observer model and what is inserted, on drawn chests and, where they are at hand, on real films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.medical.chest_xray.films import prepare_film
from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.training.data.manifest import FOLDER, read_manifest
from services.medical.chest_xray.training.data.preparation import Placement, placement_of, prepare_films, read_picture
from services.medical.chest_xray.training.targets.anatomy import costophrenic_angle, estimate_lungs, hilum
from services.medical.chest_xray.training.targets.attenuation import add_attenuation, visibility
from services.medical.chest_xray.training.targets.heart_failure import add_fluid, widen_heart
from services.medical.chest_xray.training.targets.observer import Finding, blur, box_density, fixation_density
from services.medical.chest_xray.training.targets.simulation import simulate_film, simulate_films
from shared.settings import get_settings
from tests.unit.services.medical.chest_xray.training.conftest import draw_chest, whole

SHAPE = (160, 128)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shift", [(0, 0), (-12, 6), (8, -8)])
def test_lungs_are_found_where_they_lie(shift: tuple[int, int]) -> None:
    film, lungs = draw_chest(SHAPE, random())
    film = np.roll(film, shift, axis=(0, 1))
    found = estimate_lungs(film, whole(SHAPE))
    assert found.plausible
    for mine, drawn in zip((found.left, found.right), lungs, strict=True):
        moved = np.roll(drawn, shift, axis=(0, 1))
        assert (mine & moved).sum() / (mine | moved).sum() > 0.75


def test_a_film_without_lungs_has_no_plausible_ones() -> None:
    found = estimate_lungs(np.full(SHAPE, 0.5, np.float32), whole(SHAPE))
    assert not found.plausible
    assert found.both.any()


def test_landmarks_lie_on_the_sides_that_they_should() -> None:
    film, _ = draw_chest(SHAPE, random())
    lungs = estimate_lungs(film, whole(SHAPE))
    (_, left), (_, right) = hilum(lungs.left, 0), hilum(lungs.right, 1)
    assert left < SHAPE[1] / 2 < right
    row, column = costophrenic_angle(lungs.left, 0)
    assert row > 0.6 * SHAPE[0]
    assert column < np.nonzero(lungs.left)[1].mean()


def test_blur_has_the_width_of_the_paper() -> None:
    density = np.zeros((320, 256), np.float32)
    density[160, 128] = 1
    spread = blur(density, Placement(0, 0, 320, 256))
    rows = np.arange(320) - 160
    deviation = np.sqrt((spread.sum(axis=1) * rows**2).sum())
    assert deviation == pytest.approx(75.5 / 3056 * 320, rel=0.01)
    assert spread.sum() == pytest.approx(1, abs=1e-5)


def test_boxes_become_densities_around_their_middles() -> None:
    density = box_density([(20.0, 90.0, 24.0, 30.0), (80.0, 40.0, 12.0, 10.0)], SHAPE, whole(SHAPE))
    assert density.sum() == pytest.approx(1, abs=1e-5)
    left, right = density[:, :64], density[:, 64:]
    assert left.sum() == pytest.approx(0.5, abs=0.01)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    assert (left * rows[:, :64]).sum() / left.sum() == pytest.approx(105 - 0.5, abs=0.3)
    assert (right * columns[:, 64:]).sum() / right.sum() == pytest.approx(86 - 0.5, abs=0.3)


def test_the_more_visible_a_finding_the_more_of_the_attention_it_has() -> None:
    film, _ = draw_chest(SHAPE, random())
    lungs = estimate_lungs(film, whole(SHAPE))
    spot = np.zeros(SHAPE, np.float32)
    spot[100:110, 30:40] = 1
    inside = np.s_[90:120, 20:50]
    shares = [
        float(fixation_density(lungs, [Finding(spot, seen)], random(1))[inside].sum()) for seen in (0.0, 0.5, 1.0)
    ]
    assert shares[0] < 0.15
    assert shares[1] == pytest.approx((shares[0] + shares[2]) / 2, abs=0.05)
    assert shares[2] > 0.65


def test_more_tissue_brightens_dark_parts_by_more() -> None:
    film = np.array([[0.1, 0.9]], np.float32)
    change = (add_attenuation(film, np.full((1, 2), 0.3, np.float32)) - film)[0]
    assert change[0] > 3 * change[1] > 0
    assert np.allclose(add_attenuation(film, np.zeros((1, 2), np.float32)), film, atol=1e-6)


def test_visibility_grows_with_contrast_and_is_nothing_without_change() -> None:
    film, _ = draw_chest(SHAPE, random())
    spot = np.zeros(SHAPE, np.float32)
    spot[60:80, 30:45] = 1
    seen = [visibility(film, add_attenuation(film, strength * spot), SHAPE[0]) for strength in (0.02, 0.4)]
    assert visibility(film, film, SHAPE[0]) == 0
    assert 0 < seen[0] < seen[1] <= 1


@pytest.mark.parametrize("seed", range(4))
def test_inserted_opacities_brighten_the_lung_fields_and_nothing_else(seed: int) -> None:
    film, _ = draw_chest(SHAPE, random())
    lungs = estimate_lungs(film, whole(SHAPE))
    changed, density, findings = simulate_film(film, lungs, CLASSES.index("pneumonia"), random(seed))
    difference = changed - film
    assert 1 <= len(findings) <= 3
    assert np.abs(difference[~lungs.both]).max() < 1e-6
    assert difference.max() > 0.02
    assert density.sum() == pytest.approx(1, abs=1e-4)
    assert density.min() >= 0
    most = np.unravel_index(int(density.argmax()), SHAPE)
    near = [one.density[most[0] - 9 : most[0] + 10, most[1] - 9 : most[1] + 10].max() for one in findings]
    assert max(near) > 0.1 * max(one.density.max() for one in findings)


def test_a_wider_heart_is_wider_and_fluid_lies_at_the_base() -> None:
    film, _ = draw_chest(SHAPE, random())
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    film[((rows - 95) / 25) ** 2 + ((columns - 68) / 14) ** 2 < 1] = 0.85
    lungs = estimate_lungs(film, whole(SHAPE))
    wide = widen_heart(film, lungs, random())
    assert (wide[95, 40:100] > 0.7).sum() >= (film[95, 40:100] > 0.7).sum() + 3
    assert np.array_equal(wide[:20], film[:20])
    added = add_fluid(film, lungs, random()) - film
    assert added[: SHAPE[0] // 2].max() < 0.05
    assert added[SHAPE[0] // 2 :].max() > 0.1


def test_simulated_films_are_the_same_for_the_same_seed(drawn_data: Path, tmp_path: Path) -> None:
    films = prepare_films(drawn_data, read_manifest(drawn_data), tmp_path / "films", SHAPE).of_split("train")
    first = simulate_films(films, "train", 6, tmp_path / "first", seed=1)
    again = simulate_films(films, "train", 6, tmp_path / "second", seed=1)
    other = simulate_films(films, "val", 6, tmp_path / "third", seed=1)
    assert np.array_equal(first.arrays, again.arrays)
    assert np.array_equal(first.attention, again.attention)
    assert not np.array_equal(first.arrays, other.arrays)
    assert first.attention.astype(np.float64).sum(axis=(1, 2)) == pytest.approx(
        np.full(6, SHAPE[0] * SHAPE[1]), rel=1e-3
    )
    kept = simulate_films(films, "train", 6, tmp_path / "first", seed=1)
    assert np.array_equal(kept.arrays, first.arrays)
    assert len(simulate_films(films, "train", 3, tmp_path / "first", seed=1)) == 3


def test_findings_need_normal_films(drawn_data: Path, tmp_path: Path) -> None:
    films = prepare_films(drawn_data, read_manifest(drawn_data), tmp_path / "films", SHAPE)
    with pytest.raises(ValueError, match="normal films"):
        simulate_films(films.take([1, 2]), "train", 2, tmp_path / "none")


def test_lungs_of_real_films_are_mostly_found() -> None:
    data = get_settings().data
    if not (data / FOLDER).is_dir():
        pytest.skip("the chest films are not in FACET_DATA")
    normal = [film for film in read_manifest(data) if film.normal and film.split == "train"][::25]
    found = []
    for film in normal:
        prepared = prepare_film(read_picture(data / FOLDER / "images" / film.file), SHAPE)
        found.append(estimate_lungs(prepared.array, placement_of(prepared)))
    assert np.mean([one.plausible for one in found]) > 0.5
    shares = [one.both.sum() / (one.placement.height * one.placement.width) for one in found]
    assert 0.1 < np.median(shares) < 0.35
