"""Drawn textures: colours of their palette, edges that meet, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from services.security.camouflage.textures.random_textures import FAMILIES, draw_palette, draw_texture, smooth_field

PALETTE = np.array([[0.2, 0.3, 0.1], [0.5, 0.45, 0.3], [0.1, 0.1, 0.1]], np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_textures_have_the_colours_of_their_palette(family: str) -> None:
    drawn = draw_texture(PALETTE, 64, np.random.default_rng(3), family)
    assert drawn.shape == (64, 64, 3)
    assert drawn.dtype == np.float32
    assert drawn.std() > 0.02
    if family == "soft":
        assert (drawn >= PALETTE.min(axis=0) - 0.1).all()
        assert (drawn <= PALETTE.max(axis=0) + 0.1).all()
    else:
        assert np.abs(drawn[..., None, :] - PALETTE).max(axis=-1).min(axis=-1).max() < 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_edges_meet(family: str) -> None:
    jumps, inner = [], []
    for seed in range(6):
        drawn = draw_texture(PALETTE, 64, np.random.default_rng(seed), family)
        jumps.append(np.abs(drawn[:, 0] - drawn[:, -1]).mean())
        inner.append(np.abs(drawn[:, 1:] - drawn[:, :-1]).mean(axis=(0, 2)).max())
    assert np.mean(jumps) < 1.2 * np.mean(inner)


def test_a_seed_decides_all() -> None:
    first, second = (draw_texture(draw_palette(rng), 32, rng) for rng in map(np.random.default_rng, (5, 5)))
    assert (first == second).all()
    assert (first != draw_texture(PALETTE, 32, np.random.default_rng(6))).any()


def test_fields_are_as_smooth_as_asked() -> None:
    field = smooth_field(256, (8, 2), np.random.default_rng(0))
    assert field.std() == pytest.approx(1)
    # A Gaussian filter of deviation s leaves a correlation of exp(-d^2 / 4 s^2) at a distance d.
    assert np.mean(field * np.roll(field, 8, axis=0)) == pytest.approx(np.exp(-1 / 4), abs=0.06)
    assert np.mean(field * np.roll(field, 2, axis=1)) == pytest.approx(np.exp(-1 / 4), abs=0.06)
