"""Views of pictures: boxes stay on their objects, colours change as they are to, all by the generator."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from services.perception.detection.optimisation.augmentation import (
    blur,
    erase,
    flip,
    jitter,
    strong_view,
    turn_hue,
    weak_view,
)
from services.perception.detection.optimisation.batches import GREY, pad_images, resize, to_image
from services.perception.detection.optimisation.instances import Targets
from tests.support.detectors import rectangle_image

IMAGE, TARGETS = rectangle_image([(0, (8, 12, 40, 36)), (1, (60, 20, 84, 56))], 64, 96)
EMPTY = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def colours_in(image: Tensor, targets: Targets) -> list[list[float]]:
    found = []
    for left, top, right, bottom in targets.boxes.round().int().tolist():
        found.append(image[:, top + 2 : bottom - 2, left + 2 : right - 2].mean(dim=(1, 2)).tolist())
    return found


@pytest.mark.parametrize("seed", range(4))
def test_boxes_stay_on_their_objects(seed: int) -> None:
    image, targets = weak_view(IMAGE, TARGETS, generator(seed), scales=(0.7, 1.5))
    for found, expected in zip(colours_in(image, targets), colours_in(IMAGE, TARGETS), strict=True):
        assert found == pytest.approx(expected, abs=0.02)
    assert targets.labels is TARGETS.labels
    assert weak_view(IMAGE, EMPTY, generator(seed), scales=(0.7, 1.5))[1].boxes.shape == (0, 4)


def test_two_flips_are_none() -> None:
    image, targets = flip(*flip(IMAGE, TARGETS))
    torch.testing.assert_close(image, IMAGE)
    torch.testing.assert_close(targets.boxes, TARGETS.boxes)
    torch.testing.assert_close(flip(IMAGE, TARGETS)[1].boxes[0], torch.tensor([56.0, 12, 88, 36]))


def test_sizes_change_with_boxes() -> None:
    image, targets = resize(IMAGE, TARGETS, 1.5)
    assert image.shape == (3, 96, 144)
    torch.testing.assert_close(targets.boxes, 1.5 * TARGETS.boxes)
    assert resize(IMAGE, TARGETS, 1.0)[0] is IMAGE


def test_views_are_drawn_by_the_generator() -> None:
    views = [strong_view(IMAGE, generator(seed)) for seed in (1, 1, 2)]
    torch.testing.assert_close(views[0], views[1])
    assert not torch.allclose(views[0], views[2])
    for seed in range(20):
        view = strong_view(IMAGE, generator(seed))
        assert view.shape == IMAGE.shape
        assert 0 <= float(view.min()) <= float(view.max()) <= 1


def test_colours_differ_after_jitter_and_greys_keep_their_hue() -> None:
    assert not torch.allclose(jitter(IMAGE, generator()), IMAGE)
    grey = torch.full((3, 4, 4), 0.5)
    turned = turn_hue(grey, 0.1)
    torch.testing.assert_close(turned, grey, atol=1e-3, rtol=0)


def test_hue_turns_around() -> None:
    torch.testing.assert_close(turn_hue(turn_hue(IMAGE, 0.1), -0.1), IMAGE, atol=1e-5, rtol=0)
    torch.testing.assert_close(turn_hue(IMAGE, 1.0), IMAGE, atol=1e-5, rtol=0)
    red = turn_hue(torch.tensor([1.0, 0, 0])[:, None, None], 1 / 3).flatten()
    assert int(red.argmax()) != 0


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_a_gaussian(sigma: float) -> None:
    point = torch.zeros(3, 25, 25)
    point[:, 12, 12] = 1
    found = blur(point, sigma)
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(3))
    spread = (found[0].sum(dim=0) * (torch.arange(25.0) - 12) ** 2).sum()
    if sigma > 0.5:
        assert float(spread) == pytest.approx(sigma**2, rel=0.05)
    torch.testing.assert_close(blur(torch.full((3, 9, 9), 0.3), sigma), torch.full((3, 9, 9), 0.3))


def test_an_erased_rectangle_has_its_share_of_the_area() -> None:
    blank = torch.full((3, 100, 120), 2.0)
    for seed in range(10):
        gone = (erase(blank, (0.05, 0.2), generator(seed)) != 2).all(dim=0)
        assert 0.04 <= float(gone.float().mean()) <= 0.21
        rows, columns = gone.any(dim=1).sum(), gone.any(dim=0).sum()
        assert int(rows * columns) == int(gone.sum())
    assert float(blank.min()) == 2


def test_batches_are_padded_at_the_right_and_below() -> None:
    other = torch.zeros(3, 40, 130)
    found = pad_images([IMAGE, other])
    assert found.shape == (2, 3, 64, 160)
    torch.testing.assert_close(found[0, :, :64, :96], IMAGE)
    assert float(found[0, 0, 0, 96]) == float(found[1, 0, 40, 0]) == pytest.approx(GREY)
    pixels = (IMAGE.permute(1, 2, 0).numpy() * 255).astype("uint8")
    torch.testing.assert_close(to_image(pixels), IMAGE, atol=1 / 255, rtol=0)
