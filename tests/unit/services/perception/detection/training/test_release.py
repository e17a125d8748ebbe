"""A finished run becomes a folder that the registry opens and the route answers with, and a card that says how."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from services.perception.app import create_app
from services.perception.detection.capability import PATH
from services.perception.detection.optimisation.construction import DetectorOptions, read_detector
from services.perception.detection.optimisation.optimisers import OptimiserOptions
from services.perception.detection.training import __main__ as command
from services.perception.detection.training import release as releasing
from services.perception.detection.training.cards import baseline_of
from services.perception.detection.training.data import read_detection_set
from services.perception.detection.training.figures import Difference, compare
from services.perception.detection.training.plan import PlannedRun
from services.perception.detection.training.release import MODELS, ReleaseRefused, read_finished
from services.perception.detection.training.train import DetectionRecipe
from shared.detectors.models import read_detector as read_served
from shared.runtime.cards import read_card
from shared.runtime.models.registry import ModelRegistry
from shared.runtime.models.sessions import OnnxModel
from tests.support.capability import running_capability
from tests.support.detectors import ARCHITECTURES, CLASSES, SOURCE, TINY, TINY_STAGES, tiny_detector

pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")

STEPS = 2


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def runs(patched: pytest.MonkeyPatch) -> dict[str, PlannedRun]:
    """Two tiny runs instead of the plan's."""
    runs = {}
    for architecture in ARCHITECTURES:
        options = DetectorOptions(CLASSES, architecture, TINY, TINY_STAGES)
        recipe = DetectionRecipe(options, optimiser=OptimiserOptions(warm_up=1))
        runs[architecture] = PlannedRun(recipe, f"tiny-{architecture}", SOURCE)
    patched.setattr(command, "RUNS", runs)
    return runs


@pytest.fixture(scope="module")
def common(runs: dict[str, PlannedRun], rectangles: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of commands about these runs, which are trained."""
    folder = str(tmp_path_factory.mktemp("runs"))
    found = ["--data", str(rectangles), "--out", folder, "--threads", "1", "--iterations"]
    command.main([*found, str(STEPS), "train"])
    return found


@pytest.fixture(scope="module")
def models(common: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a service's models with both of them."""
    folder = tmp_path_factory.mktemp("service") / "models" / "perception"
    command.main([*common, str(STEPS), "release", "--models", str(folder), "--machine", "a small one"])
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_card_says_how_it_came_about_and_what_it_is_worth(
    models: Path, common: list[str], architecture: str
) -> None:
    folder = models / f"tiny-{architecture}" / "1.0.0"
    card = read_card(folder)
    said: Any = card.parameters["detection"]
    assert said["classes"] == list(CLASSES)
    assert (said["short_side"], said["long_side"], said["fill"]) == (64, 96, [127, 127, 127])
    assert 0 < said["score_threshold"] < 1
    assert card.parameters["warm_up"] == {"height": 64, "width": 96}
    assert (card.training.machine, card.training.seed) == ("a small one", 0)
    assert card.training.command.endswith(f"train {architecture}")
    assert [one.metric.split()[0].rstrip(",") for one in card.quality] == ["AP50", "AP", "AP75", "precision", "recall"]
    assert card.quality[0].interval is not None
    assert 0 < card.parity.max_abs_difference < 1e-3
    assert "EfficientNet" in (folder / "NOTICE").read_text(encoding="utf-8")
    told = json.loads((Path(common[3]) / architecture / "release.json").read_text(encoding="utf-8"))
    assert told["served"]["AP50"] == pytest.approx(card.quality[0].value)
    assert set(told["network"]) == {"AP", "AP50", "AP75"}


def test_the_registry_opens_what_was_released(models: Path) -> None:
    registry = ModelRegistry(models, threads=1)
    registry.open()
    for architecture in ARCHITECTURES:
        assert registry.get(f"tiny-{architecture}").warm_up() > 0


async def test_the_route_answers_with_what_was_released(models: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.full((72, 96, 3), 90, np.uint8)).save(picture, format="PNG")
    async with running_capability(create_app, models.parents[1]) as client:
        for architecture in ARCHITECTURES:
            files = {"file": ("a.png", picture.getvalue(), "image/png")}
            form = {"model": f"tiny-{architecture}", "score_threshold": "0"}
            answer = await client.post(PATH, files=files, data=form)
            assert answer.status_code == 200, answer.text


def test_an_unfinished_run_is_not_released(runs: dict[str, PlannedRun], common: list[str], tmp_path: Path) -> None:
    state = torch.load(Path(common[3]) / "two-stage" / "checkpoint.pt", weights_only=True)
    torch.save(state | {"iteration": STEPS - 1}, tmp_path / "checkpoint.pt")
    recipe = replace(runs["two-stage"].recipe, iterations=STEPS)
    with pytest.raises(ReleaseRefused, match="step 1 of 2: train it first"):
        read_finished(tmp_path / "checkpoint.pt", recipe)


def test_a_run_of_another_recipe_is_not_released(common: list[str], tmp_path: Path) -> None:
    with pytest.raises(ReleaseRefused, match="another recipe"):
        command.main([*common, str(STEPS + 1), "release", "--models", str(tmp_path), "two-stage"])
    assert not list(tmp_path.iterdir())


def test_a_graph_that_says_something_else_is_not_released(
    common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "compare", lambda *_: Difference(boxes=0.0, scores=0.2))
    with pytest.raises(ReleaseRefused, match="differs from the trained network"):
        command.main([*common, str(STEPS), "release", "--models", str(tmp_path), "two-stage"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_network_is_told_from_the_file(
    models: Path, common: list[str], rectangles: Path, architecture: str
) -> None:
    model = OnnxModel.open(models / f"tiny-{architecture}" / "1.0.0", threads=1)
    data = read_detection_set(rectangles, SOURCE, "test")
    same, _ = read_detector(Path(common[3]) / architecture / "checkpoint.pt")
    close, far = (compare(read_served(model), one, data) for one in (same, tiny_detector(architecture)))
    assert close.scores < 1e-3
    assert close.boxes < 0.5
    assert close.regions > close.pictures > 0
    assert max(far.scores, far.boxes) > 5 * max(close.scores, close.boxes)


def test_the_reference_detector_is_what_figures_stand_beside(tmp_path: Path) -> None:
    beside = baseline_of(MODELS)
    assert beside is not None
    assert beside.value == 0.8702
    assert "nanodet" in beside.name
    assert baseline_of(tmp_path) is None
