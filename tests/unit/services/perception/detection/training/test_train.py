"""The training loop: it learns, it resumes, it stops at what is not finite."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from services.perception.detection.optimisation.batches import GREY
from services.perception.detection.optimisation.construction import DetectorOptions, read_detector
from services.perception.detection.optimisation.optimisers import OptimiserOptions, rate_factor
from services.perception.detection.training.data import read_detection_set
from services.perception.detection.training.plan import RUNS
from services.perception.detection.training.train import (
    DetectionRecipe,
    DetectorTraining,
    draw_batch,
)
from tests.support.detectors import ARCHITECTURES, CLASSES, SOURCE, TINY, TINY_STAGES


def recipe(architecture: str = "two-stage", **changes: object) -> DetectionRecipe:
    options = DetectorOptions(CLASSES, architecture, TINY, TINY_STAGES)  # type: ignore[arg-type]
    whole = DetectionRecipe(options, iterations=6, batch=2, optimiser=OptimiserOptions(warm_up=2), strong=0.5)
    return replace(whole, **changes)  # type: ignore[arg-type]


def training(chosen: DetectionRecipe, data: Path, folder: Path, save_every: int = 2) -> DetectorTraining:
    return DetectorTraining(chosen, [read_detection_set(data, SOURCE, "train")], folder, save_every=save_every)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one(
    architecture: str,
    optimiser: Literal["adamw", "sgd"],
    rectangles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = recipe(architecture, optimiser=OptimiserOptions(optimiser, warm_up=2))
    whole = training(chosen, rectangles, tmp_path / "whole").run()
    cut = training(chosen, rectangles, tmp_path / "cut")
    step = cut._step
    monkeypatch.setattr(cut, "_step", lambda iteration: step(iteration) if iteration < 3 else _break_off())
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    torch.manual_seed(99)
    resumed = training(chosen, rectangles, tmp_path / "cut").run()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    log = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["iteration"] for row in log] == [2, 4, 6]
    kept, options = read_detector(tmp_path / "cut" / "checkpoint.pt")
    assert options == chosen.detector
    assert torch.equal(next(kept.parameters()), next(resumed.parameters()))


def _break_off() -> dict[str, torch.Tensor]:
    raise KeyboardInterrupt


def test_losses_fall(rectangles: Path, tmp_path: Path) -> None:
    chosen = recipe(iterations=40, optimiser=OptimiserOptions(learning_rate=3e-3, warm_up=5))
    training(chosen, rectangles, tmp_path, save_every=10).run()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    totals = [sum(value for name, value in row.items() if name.startswith(("proposal", "region"))) for row in log]
    assert totals[-1] < 0.7 * totals[0]


def test_a_run_is_of_one_recipe_and_of_data_with_its_classes(rectangles: Path, tmp_path: Path) -> None:
    training(recipe(iterations=1), rectangles, tmp_path).run()
    with pytest.raises(ValueError, match="another recipe"):
        training(recipe(iterations=1, seed=1), rectangles, tmp_path).run()
    with pytest.raises(ValueError, match="the data hold"):
        training(replace(recipe(), detector=DetectorOptions(("red",), backbone=TINY)), rectangles, tmp_path)


def test_losses_that_are_not_finite_end_a_run(rectangles: Path, tmp_path: Path) -> None:
    run = training(recipe(), rectangles, tmp_path)
    with torch.no_grad():
        next(run.detector.backbone.pyramid.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        run.run()


def test_each_picture_is_seen_once_before_any_is_seen_again(rectangles: Path) -> None:
    data = read_detection_set(rectangles, SOURCE, "train")
    chosen = recipe(scales=(1.0, 1.0), strong=0.0)
    seen = [draw_batch([data], chosen, iteration) for iteration in range(3)]
    assert sorted(len(targets) for _, batch in seen for targets in batch) == [0, 2, 2, 2, 2, 2]
    again = draw_batch([data], chosen, 1)
    torch.testing.assert_close(again[0], seen[1][0])
    assert all(image.shape[2] % 32 == image.shape[3] % 32 == 0 for image, _ in seen)


def test_each_set_gives_as_many_pictures_of_a_step(rectangles: Path, tmp_path: Path) -> None:
    whole = read_detection_set(rectangles, SOURCE, "train")
    lying, standing = whole.of_domains(["A"]), whole.of_domains(["B"]).take([1])
    chosen = recipe("single-stage", batch=4, scales=(1.0, 1.0), strong=0.0)
    for iteration in range(3):
        images, _ = draw_batch([lying, standing], chosen, iteration)
        # Pictures of the second set are 64 columns wide, those of the first 96.
        assert [bool((one[:, :64, 64:] == GREY).all()) for one in images] == [False, False, True, True]
    with pytest.raises(ValueError, match="not divided among 2 sets"):
        DetectorTraining(recipe(batch=3), [lying, standing], tmp_path)


def test_published_weights_learn_slower_and_norms_do_not_decay(rectangles: Path, tmp_path: Path) -> None:
    lite = replace(RUNS["vehicles-two-stage"].recipe, detector=DetectorOptions(CLASSES))
    run = training(lite, rectangles, tmp_path)
    groups = run.optimiser.param_groups
    assert {(group["highest"], group["weight_decay"]) for group in groups} == {(3e-4, 1e-4), (1e-3, 1e-4), (1e-3, 0.0)}
    counted = sum(one.numel() for group in groups for one in group["params"])
    assert counted == sum(one.numel() for one in run.detector.parameters() if one.requires_grad)


def test_learning_rates_rise_and_fall() -> None:
    rates = [rate_factor(step, warm_up=10, total=100) for step in range(100)]
    assert rates[9] == 1
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
