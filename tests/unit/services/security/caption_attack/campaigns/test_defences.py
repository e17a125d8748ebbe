"""Filters in front of a captioner."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from services.security.caption_attack.campaigns.defences import DEFENCES, Defence, defend, try_defences
from services.security.caption_attack.captioners.queries import CaptionQueries
from services.security.caption_attack.pictures.distances import measure_distances
from services.security.caption_attack.searching.candidates import choose_positions
from services.security.caption_attack.searching.objectives import Objective
from services.security.caption_attack.searching.perturbations import PixelDeltas
from shared.fleet.budget import QueryBudget
from tests.unit.services.security.caption_attack.example_captioners import RegionCaptioner, noise_picture

SMOOTH = np.asarray(Image.fromarray(noise_picture(4, 5)).resize((40, 24), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("defence", DEFENCES)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (24, 40)])
def test_a_defence_keeps_the_size_and_repeats_itself(defence: Defence, size: tuple[int, int]) -> None:
    picture = noise_picture(*size)
    before = picture.copy()
    filtered = defend(defence, picture, seed=3)
    assert filtered.shape == picture.shape
    assert filtered.dtype == np.uint8
    assert np.array_equal(filtered, defend(defence, picture, seed=3))
    assert np.array_equal(picture, before)


def test_a_median_removes_single_pixels_and_mixes_no_channels() -> None:
    picture = np.full((7, 7, 3), [10, 100, 200], np.uint8)
    changed = picture.copy()
    changed[3, 3] = [255, 0, 0]
    changed[0, 0] = [255, 0, 0]
    assert np.array_equal(defend("median_3x3", changed), picture)


def test_jpeg_is_quality_75() -> None:
    filtered = defend("jpeg_75", SMOOTH)
    stream = io.BytesIO()
    Image.fromarray(SMOOTH).save(stream, "JPEG", quality=75)
    assert np.array_equal(filtered, np.asarray(Image.open(stream)))
    assert 0 < measure_distances(SMOOTH, filtered).linf < 60


def test_the_size_in_between_is_drawn_by_the_seed() -> None:
    results = {defend("random_resize", SMOOTH, seed=seed).tobytes() for seed in range(6)}
    assert len(results) > 1


@pytest.mark.parametrize("budget", [0, 1, 2, 5, 6, 40])
@pytest.mark.parametrize("repeats", [1, 2])
def test_defences_are_tried_on_both_pictures_within_the_budget(budget: int, repeats: int) -> None:
    positions = choose_positions("uniform", maps=None, size=(24, 40), count=900, seed=0)
    space = PixelDeltas(SMOOTH, positions, bound=40)
    changed = space.render(space.upper[None])[0]
    target = RegionCaptioner(SMOOTH)
    clean = target.caption([SMOOTH])
    target.seen = 0
    queries = CaptionQueries(target, QueryBudget(budget))
    tried = try_defences(
        queries, clean=SMOOTH, changed=changed, objective=Objective(references=clean), seed=1, repeats=repeats
    )
    assert [one.defence for one in tried] == list(DEFENCES[: budget // (2 * repeats)])
    assert target.seen == queries.budget.spent == queries.queries == 2 * repeats * len(tried)
    for one in tried:
        assert one.clean == tuple(target.caption([defend(one.defence, SMOOTH, seed=1)])) * repeats
        assert one.changed == tuple(target.caption([defend(one.defence, changed, seed=1)])) * repeats
        assert one.clean_score > one.changed_score
