"""Palettes of pictures, printable colours, CIELAB."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from services.security.camouflage.optimisation.rendering.colours import to_lab as to_lab_torch
from services.security.camouflage.rendering.colours import from_lab, to_lab
from services.security.camouflage.textures.palettes import PRINTABLE, find_palette


def test_cielab_is_that_of_an_independent_implementation() -> None:
    colours = np.random.default_rng(0).random((200, 3))
    assert np.abs(to_lab(colours) - rgb2lab(colours)).max() < 0.02
    assert np.abs(from_lab(to_lab(colours)) - colours).max() < 1e-4
    assert np.abs(from_lab(rgb2lab(colours)) - lab2rgb(rgb2lab(colours))).max() < 1e-3
    dark = colours * 0.01
    for values in (colours, dark):
        assert np.abs(to_lab_torch(torch.from_numpy(values)).numpy() - to_lab(values)).max() < 1e-3
    assert torch.autograd.gradcheck(to_lab_torch, (torch.from_numpy(colours[:10]).requires_grad_(),))


def test_the_colours_of_a_picture_are_found_by_their_frequency() -> None:
    colours = np.array([[0.2, 0.4, 0.1], [0.8, 0.7, 0.5], [0.1, 0.1, 0.3]], np.float32)
    picture = np.repeat(colours, [60, 30, 10], axis=0).reshape(10, 10, 3)
    noisy = np.clip(picture + np.random.default_rng(1).normal(0, 0.01, picture.shape), 0, 1)
    found = find_palette([noisy], colours=3, seed=4)
    assert np.abs(found.colours - colours).max() < 0.02
    assert found.shares == pytest.approx([0.6, 0.3, 0.1], abs=0.04)
    again = find_palette([noisy], colours=3, seed=4)
    assert (again.colours == found.colours).all()


def test_pictures_of_one_colour_have_one() -> None:
    found = find_palette([np.full((5, 5, 3), 0.5, np.float32)])
    assert found.colours == pytest.approx(np.full((1, 3), 0.5), abs=1e-3)
    with pytest.raises(ValueError, match="needs a picture"):
        find_palette([])


def test_printable_colours_lie_within_what_inks_reach() -> None:
    assert PRINTABLE.shape == (30, 3)
    assert len(np.unique(PRINTABLE.round(3), axis=0)) == 30
    lightness, a, b = to_lab(PRINTABLE).T
    # Paper is the lightest and black ink the darkest; no screen's blue or green is among them.
    assert lightness.argmax() == 0
    assert lightness.argmin() == 29
    screens = to_lab(np.array([[0, 0, 1], [0, 1, 0]], np.float32))
    distances = np.linalg.norm(np.stack((lightness, a, b), axis=1)[:, None] - screens, axis=2)
    assert (distances.min(axis=0) > 40).all()
