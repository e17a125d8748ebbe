"""Adaptation is resumable to the same weights, sees no target before burn-in ends, and no label of it ever."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.optimisation.divergence import Diverged
from services.perception.detection.optimisation.adaptation import Adaptation, StepReport
from services.perception.detection.optimisation.adaptation_batches import Batch, draw_batch
from services.perception.detection.optimisation.adaptation_recipe import AdaptationRecipe
from services.perception.detection.optimisation.construction import DetectorOptions
from services.perception.detection.optimisation.guards import GuardOptions
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.optimisers import OptimiserOptions
from tests.support.detectors import CLASSES, TINY, TINY_STAGES, rectangle_image

RECIPE = AdaptationRecipe(
    DetectorOptions(CLASSES, "two-stage", TINY, TINY_STAGES),
    burn_in=3,
    steps=4,
    batch=2,
    target_batch=2,
    optimiser=OptimiserOptions(warm_up=2),
    threshold=0.2,
)


@dataclass(frozen=True)
class Pictures:
    images: list[NDArray[np.uint8]]
    targets: list[Targets]


def pictures(shade: float, count: int = 3) -> Pictures:
    """Rectangles of three classes, all colours scaled by a shade: a domain."""
    images, targets = [], []
    for index in range(count):
        left = 8 + 6 * index
        rectangles = [(index % 3, (left, 10, left + 20, 34)), ((index + 1) % 3, (left + 30, 30, left + 54, 56))]
        image, target = rectangle_image(rectangles, 64, 96 + 32 * (index % 2))
        images.append((image * shade * 255).numpy().astype(np.uint8).transpose(1, 2, 0))
        targets.append(target)
    return Pictures(images, targets)


SOURCES = [pictures(1.0), pictures(0.6, 4)]
TARGET = pictures(0.8, 5).images


def adaptation(recipe: AdaptationRecipe = RECIPE) -> Adaptation:
    return Adaptation(recipe, SOURCES, TARGET)


def stored(run: Adaptation) -> dict[str, object]:
    """The state by way of a file."""
    content = io.BytesIO()
    torch.save(run.state(), content)
    content.seek(0)
    state: dict[str, object] = torch.load(content, weights_only=True)
    return state


def assert_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("cut", [2, 5])
def test_a_resumed_run_ends_at_the_same_weights(cut: int) -> None:
    unbroken, first = adaptation(), adaptation()
    unbroken.run()
    for _ in range(cut):
        first.advance()
    second = adaptation()
    second.restore(stored(first))
    second.run()
    assert_equal(unbroken.teacher.state_dict(), second.teacher.state_dict())
    assert_equal(unbroken.student.state_dict(), second.student.state_dict())
    assert unbroken.guard.state() == second.guard.state()


def test_one_burn_in_serves_several_recipes() -> None:
    first = adaptation(replace(RECIPE, unsupervised=0.0, image=0.0, instance=0.0))
    for _ in range(RECIPE.burn_in):
        first.advance()
    whole, continued = adaptation(), adaptation()
    continued.restore(stored(first))
    assert_equal(whole.run().state_dict(), continued.run().state_dict())


def test_a_state_of_another_burn_in_is_refused() -> None:
    first = adaptation(replace(RECIPE, seed=5))
    first.advance()
    with pytest.raises(ValueError, match="another burn-in"):
        adaptation().restore(stored(first))
    later = adaptation(replace(RECIPE, image=0.5))
    later.run()
    with pytest.raises(ValueError, match="beyond its burn-in"):
        adaptation().restore(stored(later))


def test_losses_come_when_burn_in_is_over() -> None:
    reports: list[StepReport] = []
    adaptation().run(reports.append)
    assert [report.step for report in reports] == list(range(1, 8))
    assert {tuple(report.losses) for report in reports[:3]} == {("supervised",)}
    assert {tuple(report.losses) for report in reports[3:]} == {("supervised", "unsupervised", "image", "instance")}
    assert all(np.isfinite(value) for report in reports for value in report.losses.values())


SHORT = replace(RECIPE, burn_in=1, steps=1)


@pytest.mark.parametrize(
    ("recipe", "losses"),
    [
        (replace(SHORT, unsupervised=0.0), {"supervised", "image", "instance"}),
        (replace(SHORT, image=0.0), {"supervised", "unsupervised", "instance"}),
        (replace(SHORT, instance=0.0), {"supervised", "unsupervised", "image"}),
    ],
)
def test_a_weight_of_nothing_leaves_a_part_out(recipe: AdaptationRecipe, losses: set[str]) -> None:
    reports: list[StepReport] = []
    adaptation(recipe).run(reports.append)
    assert set(reports[-1].losses) == losses


def test_the_teacher_begins_as_the_student_of_the_end_of_burn_in() -> None:
    run = adaptation(replace(RECIPE, decay=1.0))
    for _ in range(RECIPE.burn_in):
        run.advance()
    student = {name: value.clone() for name, value in run.student.state_dict().items()}
    run.run()
    assert_equal(run.teacher.state_dict(), student)
    assert not all(torch.equal(value, student[name]) for name, value in run.student.state_dict().items())


def test_no_target_is_seen_before_burn_in_ends_and_no_label_of_it_at_all() -> None:
    early, late = (draw_batch(RECIPE, SOURCES, TARGET, step) for step in (RECIPE.burn_in - 1, RECIPE.burn_in))
    assert (early.labelled, len(early.images), len(early.weak)) == (4, 4, 0)
    assert (late.labelled, len(late.images), len(late.weak)) == (4, 6, 2)
    assert late.sources.tolist() == [0, 0, 1, 1]
    assert {field.name for field in fields(Batch)} == {"images", "targets", "sources", "weak"}
    unseeing = replace(RECIPE, unsupervised=0.0, image=0.0)
    assert len(draw_batch(unseeing, SOURCES, [], RECIPE.burn_in).weak) == 0


def test_all_pictures_of_a_source_are_seen_equally_often() -> None:
    boxes = torch.tensor([[2.0, 2, 20, 20]])
    counted = [Targets(boxes.repeat(count, 1), torch.zeros(count, dtype=torch.int64)) for count in (1, 2, 3, 4)]
    source, recipe = Pictures([np.zeros((32, 32, 3), np.uint8)] * 4, counted), replace(RECIPE, batch=1)
    seen = [len(draw_batch(recipe, [source], TARGET, step).targets[0]) for step in range(12)]
    assert [sorted(seen[start : start + 4]) for start in (0, 4, 8)] == [[1, 2, 3, 4]] * 3
    assert len({tuple(seen[start : start + 4]) for start in (0, 4, 8)}) > 1


def test_a_run_without_any_pseudo_label_ends_with_advice() -> None:
    recipe = replace(RECIPE, threshold=0.999, steps=20, guard=GuardOptions(patience=3))
    with pytest.raises(Diverged, match="Lower `threshold`"):
        adaptation(recipe).run()


@pytest.mark.parametrize(
    ("recipe", "sources", "target", "says"),
    [
        (RECIPE, [], TARGET, "each source"),
        (RECIPE, [SOURCES[0], Pictures([], [])], TARGET, "each source"),
        (RECIPE, SOURCES, [], "of the target"),
        (RECIPE, SOURCES[:1], TARGET, "two sources"),
        (replace(RECIPE, detector=replace(RECIPE.detector, architecture="single-stage")), SOURCES, TARGET, "two-stage"),
    ],
)
def test_what_cannot_be_adapted_is_refused(
    recipe: AdaptationRecipe, sources: list[Pictures], target: list[NDArray[np.uint8]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Adaptation(recipe, sources, target)


def test_a_recipe_goes_through_json() -> None:
    assert AdaptationRecipe.read(json.loads(json.dumps(asdict(RECIPE)))) == RECIPE
