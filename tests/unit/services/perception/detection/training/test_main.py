"""The command line from training to the exported file, on generated pictures."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from services.perception.detection.optimisation.construction import DetectorOptions
from services.perception.detection.optimisation.optimisers import OptimiserOptions
from services.perception.detection.training import __main__ as command
from services.perception.detection.training.plan import RUNS, PlannedRun
from services.perception.detection.training.train import DetectionRecipe
from tests.support.detectors import CLASSES, SOURCE, TINY, TINY_STAGES


def test_a_run_is_trained_measured_and_exported(
    rectangles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = DetectorOptions(CLASSES, "two-stage", TINY, TINY_STAGES)
    recipe = DetectionRecipe(options, optimiser=OptimiserOptions(warm_up=1))
    monkeypatch.setattr(command, "RUNS", {"tiny": PlannedRun(recipe, "tiny", SOURCE)})
    common = ["--data", str(rectangles), "--out", str(tmp_path), "--threads", "1", "--iterations", "2"]
    command.main([*common, "train", "tiny"])
    command.main([*common, "export"])
    assert "detector.onnx" in capsys.readouterr().out
    onnxruntime.InferenceSession(tmp_path / "tiny" / "detector.onnx", providers=["CPUExecutionProvider"])
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    command.main([*common, "measure"])
    assert set(json.loads((tmp_path / "tiny" / "test.json").read_text(encoding="utf-8"))["classes"]) == set(CLASSES)


def test_planned_runs_are_independent_of_each_other() -> None:
    assert {name.removeprefix("vehicles-") for name in RUNS} == {"two-stage", "single-stage"}
    for name, planned in RUNS.items():
        assert name.endswith(planned.recipe.detector.architecture)
    assert len({planned.recipe.seed for planned in RUNS.values()}) == len(RUNS)
