"""What counts as found, what is compared, under which conditions, and what the report makes of it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from services.security.camouflage.measurement.conditions import AZIMUTH_STEP, TEST_LIGHTS, Condition
from services.security.camouflage.measurement.grids import deal_grid, divide_backgrounds
from services.security.camouflage.measurement.measures import Look
from services.security.camouflage.measurement.measuring import Measured, Sight, compared_textures, conditions_of_look
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.reporting.advice import advise
from services.security.camouflage.reporting.report import (
    CamouflageReport,
    DetectorUsed,
    LossPoint,
    Steps,
    Surface,
    rates_of,
    thin_trace,
)
from services.security.camouflage.textures.uv_previews import chart_outlines
from shared.intervals import wilson_interval
from shared.runtime.cards import ModelReference
from tests.unit.services.security.camouflage.surfaces import make_wall

PLAN = CamouflagePlan()
ROLES: dict[str, Literal["victim", "transfer"]] = {"one": "victim"}


def test_textures_differ_on_the_cover_alone() -> None:
    mask = np.zeros((128, 128), bool)
    mask[10:50, 20:90] = True
    result = np.random.default_rng(0).random((128, 128, 3)).astype(np.float32)
    made = compared_textures(result, mask, (255, 0, 0), seed=4)
    assert list(made) == ["plain", "grey", "random", "result"]
    for name in ("grey", "random"):
        assert np.array_equal(made[name][~mask], made["plain"][~mask])
        assert (made[name][mask] != made["plain"][mask]).any(axis=1).all()
    assert np.ptp(made["grey"][mask]) == 0
    assert compared_textures(result, mask, (255, 0, 0), seed=5)["random"].tobytes() != made["random"].tobytes()


def test_the_grid_meets_every_light_and_background_as_often() -> None:
    grid = deal_grid(PLAN, azimuths=12, backgrounds=6)
    assert len(grid) == len(set(grid)) == 12 * 3 * 2
    assert all(one.camera.azimuth % AZIMUTH_STEP == 0 for one in grid)
    lights, numbers = [one.light for one in grid], [one.background for one in grid]
    assert {lights.count(name) for name in TEST_LIGHTS} == {72 // len(TEST_LIGHTS)}
    assert {numbers.count(number) for number in range(6)} == {12}
    assert grid == deal_grid(PLAN, azimuths=12, backgrounds=6)
    assert grid != deal_grid(PLAN.model_copy(update={"seed": 1}), azimuths=12, backgrounds=6)


def test_backgrounds_are_learned_with_or_measured_with() -> None:
    pictures = [np.full((2, 2, 3), number, np.uint8) for number in range(9)]
    learned, kept = divide_backgrounds(pictures)
    assert [int(one[0, 0, 0]) for one in kept] == [1, 5]
    assert sorted(int(one[0, 0, 0]) for one in learned + kept) == list(range(9))


def seen(condition: Condition, found: bool) -> Look:
    """A look that finds the car alone, or nothing."""
    scores = np.array([0.9] if found else [], np.float32)
    return Look(conditions_of_look(condition, 0), 0.9 * found, scores, 0 if found else -1)


def sights(plain: int, grey: int, random: int, result: int, *, of: int = 40) -> Measured:
    """So many of 40 pictures on which each texture is found."""
    grid = deal_grid(PLAN, azimuths=12, backgrounds=6)[:of]
    counts = {"plain": plain, "grey": grey, "random": random, "result": result}
    made = [
        Sight(
            condition, (0, 0, 9, 9), {"one": {name: seen(condition, place < count) for name, count in counts.items()}}
        )
        for place, condition in enumerate(grid)
    ]
    return Measured(made, 0)


def report(measured: Measured) -> CamouflageReport:
    model = ModelReference(name="one", version="1.0.0", weights_sha256="0" * 64)
    return CamouflageReport(
        plan=PLAN,
        surface=Surface(car="sedan", faces=1, painted_m2=1, covered_m2=1, covered_share=1),
        detectors=[DetectorUsed(role="victim", model=model)],
        backgrounds={},
        steps=Steps(done=1, planned=1, seconds=1, steps_per_s=1, trace=[]),
        stopped=None,
        rates=rates_of(measured, ROLES),
    )


def test_rates_have_intervals_and_say_what_plain_paint_lost() -> None:
    lines = {one.texture: one for one in rates_of(sights(40, 30, 30, 10), ROLES) if one.threshold == 0.5}
    result = lines["result"]
    low, high = wilson_interval(0.25, 40)
    assert (result.found, result.rate, result.lost) == (10, 0.25, 0.75)
    assert (result.low, result.high) == (round(low, 4), round(high, 4))
    assert lines["plain"].lost == 0
    assert lines["plain"].ap50 == 1
    assert lines["result"].ap50 == pytest.approx(0.25, abs=0.01)
    assert rates_of(sights(0, 0, 0, 0), ROLES)[0].lost is None


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (sights(40, 40, 38, 2), "what was optimised matters"),
        (sights(40, 38, 10, 9), "has seen too few paints"),
        (sights(40, 10, 38, 39), "much of the loss is the area"),
        (sights(40, 40, 40, 39), "absence here is no proof"),
        (sights(10, 10, 10, 10), "too weak here"),
        (Measured([], 3), "Nothing was measured"),
    ],
)
def test_advice_follows_from_the_numbers(measured: Measured, said: str) -> None:
    assert any(said in line for line in advise(report(measured)))


def test_a_long_trace_is_thinned_to_its_ends() -> None:
    trace = [LossPoint(step=step, losses={}, best_score=0) for step in range(1, 1001)]
    thin = thin_trace(trace)
    assert len(thin) <= 200
    assert (thin[0].step, thin[-1].step) == (1, 1000)
    assert thin_trace(trace[:7]) == trace[:7]


@pytest.mark.parametrize(("mesh", "length"), [(make_wall(), 4.0), (make_car("sedan"), None)])
def test_outlines_are_the_edges_of_one_triangle_alone(mesh: Mesh, length: float | None) -> None:
    edges = chart_outlines(mesh)
    lengths = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1)
    if length is not None:
        assert lengths.sum() == pytest.approx(length)
    ends = np.round(edges.reshape(-1, 2) * 1e6).astype(np.int64)
    assert (np.unique(ends, axis=0, return_counts=True)[1] % 2 == 0).all()  # outlines are closed
