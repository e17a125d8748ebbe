"""The table of arms."""

from __future__ import annotations

import numpy as np
import pytest

from services.security.caption_attack.pictures.distances import decode_png, encode_exactly, measure_distances
from services.security.caption_attack.searching.arms import ARMS, ArmOptions, expected_l2, make_arm
from tests.unit.services.security.caption_attack.example_captioners import attention_on_region, noise_picture

PICTURE = noise_picture()


def options(*, pixels: int = 30, seed: int = 1, bound: int = 40) -> ArmOptions:
    return ArmOptions(pixels=pixels, bound=bound, seed=seed, queries=100, share=0.1)


def test_all_arms_of_the_protocol_are_there() -> None:
    assert set("ABCDEFGHI") <= ARMS.keys()
    assert "J" not in ARMS
    assert all(key == kind.key for key, kind in ARMS.items())
    assert len({kind.title for kind in ARMS.values()}) == len(ARMS)


@pytest.mark.parametrize("key", ARMS)
def test_what_an_arm_saves_keeps_k_and_the_bound(key: str) -> None:
    arm = make_arm(key, picture=PICTURE, attention=attention_on_region(), options=options())
    for _ in range(3):
        if arm.search.finished:
            break
        genes = arm.search.ask(8)
        for picture in arm.space.render(genes):
            distances = measure_distances(PICTURE, decode_png(encode_exactly(picture)))
            assert distances.l0 <= arm.pixels
            assert distances.linf <= arm.bound
        arm.search.tell(genes, np.linspace(1, 0, len(genes)))


@pytest.mark.parametrize(("key", "pixels", "bound"), [("A", 30, 40), ("G", 1, 255), ("M", 30, 40), ("O", 960, 40)])
def test_an_arm_says_how_much_it_may_change(key: str, pixels: int, bound: int) -> None:
    arm = make_arm(key, picture=PICTURE, attention=None, options=options())
    assert (arm.pixels, arm.bound, arm.space.sparse) == (pixels, bound, key != "O")


@pytest.mark.parametrize(("one", "other"), [("A", "E"), ("A", "L"), ("A", "P"), ("C", "D"), ("C", "H")])
def test_arms_that_differ_by_their_search_have_the_same_positions(one: str, other: str) -> None:
    first, second = (
        make_arm(key, picture=PICTURE, attention=attention_on_region(), options=options()).positions
        for key in (one, other)
    )
    assert first is not None
    assert second is not None
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.columns, second.columns)


def test_evolution_and_draws_differ_in_the_search_alone() -> None:
    a, c = (
        make_arm(key, picture=PICTURE, attention=attention_on_region(), options=options()).search for key in ("A", "C")
    )
    assert np.array_equal(a.ask(20), c.ask(20))


def test_each_picture_and_seed_has_positions_of_its_own() -> None:
    rows = [
        make_arm("C", picture=picture, attention=None, options=options(seed=seed)).positions
        for picture, seed in ((PICTURE, 1), (noise_picture(seed=2), 1), (PICTURE, 2))
    ]
    assert len({positions.rows.tobytes() for positions in rows if positions is not None}) == 3


def test_identities_tell_arms_apart() -> None:
    identities = {
        make_arm(key, picture=picture, attention=maps, options=options(seed=seed)).identity
        for key in ("A", "B")
        for picture in (PICTURE, noise_picture(seed=2))
        for maps in (None, attention_on_region())
        for seed in (1, 2)
    }
    assert len(identities) == 16


@pytest.mark.parametrize("key", ARMS)
def test_a_picture_of_one_pixel_and_k_beyond_it(key: str) -> None:
    picture = np.full((1, 1, 3), 250, np.uint8)
    arm = make_arm(key, picture=picture, attention=attention_on_region(), options=options(pixels=500))
    for _ in range(4):
        if not arm.search.finished:
            genes = arm.search.ask(5)
            assert measure_distances(picture, arm.space.render(genes)[0]).l0 <= 1
            arm.search.tell(genes, np.zeros(len(genes)))
    assert arm.pixels == 1


def test_noise_is_as_large_as_even_draws_are_expected_to_be() -> None:
    deltas = np.random.default_rng(0).integers(-40, 40, (300, 90), endpoint=True)
    assert np.sqrt((deltas**2).sum(axis=1).mean()) == pytest.approx(expected_l2(30, 40), rel=0.02)
    arm = make_arm("N", picture=PICTURE, attention=None, options=options())
    assert np.linalg.norm(arm.search.ask(1)) == pytest.approx(expected_l2(30, 40), rel=0.01)


def test_an_arm_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        make_arm("J", picture=PICTURE, attention=None, options=options())
