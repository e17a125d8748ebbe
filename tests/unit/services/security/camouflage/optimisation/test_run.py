"""Runs: a texture that a small victim finds less often, and one that is the same after a cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from services.optimisation.divergence import Diverged
from services.security.camouflage.measurement.conditions import Streets
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.optimisation.patterns.diffusion import NoisePredictor
from services.security.camouflage.optimisation.run import CamouflageRun
from services.security.camouflage.optimisation.scenes import ScenePool, generator_of
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.textures.covers import CoverTooLarge
from services.security.camouflage.training.exports import export_prior

SEDAN = make_car("sedan")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    boxes: Tensor
    scores: Tensor


class RednessVictim:
    """A real small detector of one kind of object: boxes over the picture, surer the redder what lies in them is."""

    def see(self, pictures: Tensor) -> Found:
        count, _, height, width = pictures.shape
        redness = pictures[:, :1] - pictures[:, 1:].mean(dim=1, keepdim=True)
        cells = functional.avg_pool2d(redness, 24, stride=12)
        rows, columns = torch.meshgrid(*(torch.arange(size) * 12.0 for size in cells.shape[2:]), indexing="ij")
        boxes = torch.stack((columns - 6, rows + 1, columns + 30, rows + 23), dim=-1).reshape(1, -1, 4)
        boxes[..., 0::2].clamp_(0, width)
        boxes[..., 1::2].clamp_(0, height)
        return Found(boxes.expand(count, -1, -1), torch.sigmoid(2 + 12 * cells.flatten(1)))


def a_plan(**changes: object) -> CamouflagePlan:
    options: dict[str, object] = {
        "texture_side": 128,
        "views": {"scenes": 4, "lights": 2, "side": 96},
        "steps": 12,
        "learning_rate": 0.3,
        "batch": 2,
        "paint": (200, 40, 40),
        "seed": 3,
    }
    return CamouflagePlan.model_validate(options | changes)


def start(plan: CamouflagePlan, **more: Any) -> CamouflageRun:
    return CamouflageRun(plan, SEDAN, RednessVictim(), Streets(), **more)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def prior() -> bytes:
    torch.manual_seed(0)
    return export_prior(NoisePredictor())


def test_a_resumed_run_ends_at_the_texture_of_an_unbroken_one() -> None:
    whole = start(a_plan())
    reports = [whole.step() for _ in range(12)]
    assert whole.finished
    broken = start(a_plan())
    for _ in range(5):
        broken.step()
    resumed = start(a_plan())
    resumed.restore(broken.state())
    assert resumed.step_number == 5
    rest = [resumed.step() for _ in range(7)]
    assert rest == reports[5:]
    assert np.array_equal(resumed.texture(), whole.texture())
    # It has learned something meanwhile: the pictures of the first step, with the last texture.
    rng = generator_of(whole.plan, 0)
    rng.integers(2**62)
    losses, score = whole._measure(torch.from_numpy(whole.texture()).permute(2, 0, 1), rng)
    assert float(losses["hide"]) < 0.9 * reports[0].losses["hide"]
    assert score < reports[0].score


@pytest.mark.parametrize("pattern", ["generator", "ddpm"])
def test_other_patterns_resume_as_well(pattern: str, prior: bytes) -> None:
    plan = a_plan(pattern=pattern, steps=2, learning_rate=None, weights={"covert": 1.0})
    whole = start(plan, prior=prior)
    reports = [whole.step() for _ in range(2)]
    broken = start(plan, prior=prior)
    broken.step()
    resumed = start(plan, prior=prior)
    resumed.restore(broken.state())
    assert resumed.step() == reports[1]
    assert np.array_equal(resumed.texture(), whole.texture())
    assert ("prior" in reports[0].losses) == (pattern == "ddpm")


def test_a_texture_is_paint_but_for_its_cover_and_has_eight_bits() -> None:
    run = start(a_plan(cover={"mode": "sticker", "share": 0.1}))
    run.step()
    texture = run.texture()
    assert texture.shape == (128, 128, 3)
    assert texture.dtype == np.float32
    levels = texture * 255
    assert np.abs(levels - levels.round()).max() < 1e-4
    assert (levels[~run.cover.mask].round() == (200, 40, 40)).all()
    assert texture[run.cover.mask].std() > 0.05
    assert run.cover.share == pytest.approx(0.1, abs=0.01)


def test_a_victim_that_gives_no_numbers_ends_the_run() -> None:
    run = start(a_plan())

    class Broken(RednessVictim):
        def see(self, pictures: Tensor) -> Found:
            found = super().see(pictures)
            return Found(found.boxes, found.scores * torch.nan)

    run._victim = Broken()
    with pytest.raises(Diverged, match="Lower the learning rate"):
        run.step()
    assert run.step_number == 0


def test_a_state_of_another_plan_is_refused() -> None:
    run = start(a_plan())
    with pytest.raises(ValueError, match="another plan"):
        start(a_plan(seed=4)).restore(run.state())
    with pytest.raises(CoverTooLarge):
        start(a_plan(cover={"mode": "sticker", "share": 0.6, "places": ["roof"]}))


def test_scenes_follow_from_the_seed_whatever_was_drawn_before() -> None:
    plan = a_plan()
    first, second = (ScenePool(plan, SEDAN, Streets()) for _ in range(2))
    second.scene(3)
    one, other = (pool.draw(generator_of(plan, 5)) for pool in (first, second))
    assert one.box == other.box
    assert np.array_equal(one.frame.base, other.frame.base)
    assert np.array_equal(one.frame.gains, other.frame.gains)
    again = first.draw(generator_of(plan, 6))
    assert again.frame.base.shape == (96, 96, 3)
    assert not np.array_equal(again.frame.base, one.frame.base)
    # The whole car is in the picture.
    boxes = [first.scene(index).view.box for index in range(4)]
    assert all(box and min(box) > 0 and max(box) < 96 for box in boxes)


def test_a_car_that_is_too_small_is_refused() -> None:
    plan = a_plan(views={"distance_m": (300, 310), "side": 96})
    with pytest.raises(ValueError, match="smaller than"):
        ScenePool(plan, SEDAN, Streets()).scene(0)


def test_pixels_begin_with_a_texture_that_is_given() -> None:
    posted = (np.random.default_rng(5).integers(0, 256, (128, 128, 3)) / 255).astype(np.float32)
    posted[:4], posted[4:8] = 0, 1
    whole = start(a_plan(), initial=posted)
    covered = whole.cover.mask
    np.testing.assert_array_equal(whole.texture()[covered], posted[covered])
    for _ in range(4):
        whole.step()
    changed = np.abs(whole.texture() - posted)[covered]
    assert changed.max() > 0
    broken = start(a_plan(), initial=posted)
    for _ in range(2):
        broken.step()
    resumed = start(a_plan(), initial=posted)
    resumed.restore(broken.state())
    for _ in range(2):
        resumed.step()
    assert resumed.texture().tobytes() == whole.texture().tobytes()
    with pytest.raises(ValueError, match="generator cannot begin with a texture"):
        start(a_plan(pattern="generator"), initial=posted)
