"""The plan of experiments: each once, in an order in which arms can be compared at any time."""

from __future__ import annotations

from services.security.camouflage.evaluation.experiments import (
    HARDENED,
    OUTSIDER,
    VICTIM,
    Experiment,
    Scale,
    cover_of,
    experiments,
)
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.textures.covers import make_cover


def test_each_experiment_is_done_once() -> None:
    planned = list(experiments(hardened=True, reference=True))
    assert len({one.key(Scale()) for one in planned}) == len(planned)
    assert not {one.key(Scale()) for one in planned} & {one.key(Scale(steps=5)) for one in planned}
    fewer = list(experiments())
    assert set(fewer) < set(planned)
    assert not any(one.victim == HARDENED or one.part == "renderer" for one in fewer)


def test_what_a_result_is_compared_with_comes_before_it() -> None:
    planned = list(experiments())
    assert {one.part for one in planned[:3]} == {"detectors"}
    for place, one in enumerate(planned):
        if one.part == "attack":
            assert Experiment("unoptimised", cover=one.cover) in planned[:place]
    attacks = [one for one in planned if one.part == "attack"]
    assert [one.pattern for one in attacks[:3]] == ["pixels", "generator", "ddpm"]
    assert {(one.victim, one.cover, one.covert) for one in attacks[:3]} == {(VICTIM, "full", "none")}
    assert {one.pattern for one in attacks if one.victim == OUTSIDER} == {"pixels", "generator", "ddpm"}


def test_plans_say_what_experiments_name() -> None:
    scale = Scale(steps=7, batch=3, seed=5)
    plan = Experiment("attack", pattern="generator", cover="sticker-40", covert="high").plan(scale)
    assert (plan.pattern, plan.cover.mode, plan.cover.share, plan.weights.covert) == ("generator", "sticker", 0.4, 5.0)
    assert (plan.steps, plan.batch, plan.seed, plan.views.side) == (7, 3, 5, scale.side)


def test_the_car_has_room_for_the_largest_sticker() -> None:
    sedan = make_car("sedan")
    cover = make_cover(sedan, map_atlas(sedan, 128, 128), cover_of("sticker-40"))
    assert abs(cover.share - 0.4) < 0.02
