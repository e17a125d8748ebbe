"""The comparison of ways to adapt: methods that differ in one thing, runs that go on, and a page of what there is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.perception.detection.evaluation import running
from services.perception.detection.evaluation.choices import VARIANTS, Pilot, pilots
from services.perception.detection.evaluation.experiments import CLASSES, DIRECTIONS, METHODS, Experiment, experiments
from services.perception.detection.evaluation.report import write_report
from services.perception.detection.evaluation.running import Runner
from services.perception.detection.optimisation.adaptation import Adaptation
from tests.support.detectors import rectangle_image


def test_each_experiment_is_done_once_and_directions_are_compared_first() -> None:
    planned = list(experiments(seeds=3))
    assert len({one.key for one in planned}) == len(planned) == 2 * (3 * len(METHODS) + 2 * 3 * 3)
    first = planned[: len(METHODS)]
    assert {(one.target, one.backbone, one.seed) for one in first} == {("R", "imagenet", 0)}
    assert [one.method for one in first] == list(METHODS)


def test_pilots_know_nothing_of_the_target() -> None:
    planned = list(pilots())
    assert len({one.key for one in planned}) == len(planned) == 6 * len(VARIANTS)
    assert [(one.source, one.target) for one in planned[: 2 * len(VARIANTS) : len(VARIANTS)]] == [
        ("B", "P"),
        ("P", "B"),
    ]
    recipes = [one.recipe(burn_in=5, steps=4) for one in planned[: len(VARIANTS)]]
    assert len({json.dumps(asdict(one)) for one in recipes}) == len(VARIANTS)
    assert {(one.batch, one.instance) for one in recipes} == {(4, 0.0)}
    assert [one.sees_target for one in recipes] == [False, True, True, True]


def test_methods_differ_in_what_they_say_and_share_their_beginning() -> None:
    made = {method: Experiment("P", "imagenet", method, 0) for method in METHODS}
    recipes = {method: one.recipe(burn_in=5, steps=4) for method, one in made.items()}
    weights = {method: (one.unsupervised, one.image, one.instance) for method, one in recipes.items()}
    assert weights["mean-teacher"] == weights["mean-teacher-paper"] == (1.0, 0.0, 0.0)
    assert weights["image"] == (1.0, 0.02, 0.0)
    assert weights["agnostic"] == weights["acia"] == (1.0, 0.02, 0.3)
    assert weights["acia-paper"] == (1.0, 0.1, 0.3)
    assert [method for method, one in recipes.items() if one.unsure is None] == ["mean-teacher-paper", "acia-paper"]
    assert recipes["agnostic"].alignment.conditioned is not recipes["acia"].alignment.conditioned
    assert recipes["acia-unbalanced"].alignment.balanced is not recipes["acia"].alignment.balanced
    assert weights["source-only"] == weights["strong"] == weights["target"] == (0.0, 0.0, 0.0)
    assert len({one.burn_in_key for one in made.values()}) == 3
    assert len({json.dumps(asdict(one)) for one in recipes.values()}) == len(METHODS)
    assert {one.total for one in recipes.values()} == {9}
    for method, one in made.items():
        seen = recipes[method].batch * len(one.sources)
        assert seen == 4, "a step sees as many labelled pictures, whatever the method"


def blood_cells(folder: Path) -> Path:
    """A set in the format of the blood cells: two pictures of each origin and split."""
    images = folder / "blood-cells" / "images"
    images.mkdir(parents=True)
    for split in ("train", "test"):
        entries: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for origin, shade in (("B", 1.0), ("P", 0.7), ("R", 0.5)):
            for number in range(2):
                boxes = [(label, (4 + 30 * label, 6 + 4 * number, 28 + 30 * label, 40)) for label in range(3)]
                image, _ = rectangle_image(boxes, 64, 96)
                name = f"{split}-{origin}-{number}.png"
                pixels = np.ascontiguousarray((image * shade * 255).numpy().astype(np.uint8).transpose(1, 2, 0))
                Image.fromarray(pixels).save(images / name)
                about = {"id": len(entries), "file_name": name, "width": 96, "height": 64, "domain": origin}
                entries.append(about)
                for label, (left, top, right, bottom) in boxes:
                    box = [left, top, right - left, bottom - top]
                    annotations.append(
                        {"id": len(annotations), "image_id": about["id"], "category_id": label + 1, "bbox": box}
                    )
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
        described = {"images": entries, "annotations": annotations, "categories": categories}
        (folder / "blood-cells" / f"{split}.json").write_text(json.dumps(described))
    return folder


def test_runs_are_measured_and_share_a_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SHORT_SIDE", 64)
    runner = Runner(blood_cells(tmp_path), tmp_path / "checkpoints", burn_in=2, steps=1)
    line = runner.run(Experiment("P", "scratch", "strong", 0))
    assert (line["key"], line["ended"]) == ("P/scratch/strong/0", None)
    assert set(line["figures"]["classes"]) == set(CLASSES)
    assert set(line["sources"]) == set(DIRECTIONS["P"])
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["burn-in-P-scratch-strong-0.pt"]
    began = (tmp_path / "checkpoints" / "burn-in-P-scratch-strong-0.pt").stat().st_mtime_ns
    other = runner.run(Experiment("P", "scratch", "image", 0))
    assert (tmp_path / "checkpoints" / "burn-in-P-scratch-strong-0.pt").stat().st_mtime_ns == began
    assert other["seconds"] > 0
    pilot = runner.run(Pilot("B", "P", "mean teacher, unsure 0.2", backbone="scratch"))
    assert set(pilot["sources"]) == {"B"}
    page = tmp_path / "report.md"
    write_report([line, other, pilot], page)
    text = page.read_text()
    assert "### B and R to P" in text
    assert METHODS["image"] in text
    assert "| B to P | mean teacher, unsure 0.2 |" in text
    assert METHODS["acia"] not in text


def test_a_run_that_was_cut_off_before_it_was_measured_is_measured_without_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "SHORT_SIDE", 64)
    monkeypatch.setattr(running, "_SAVED_EVERY", 1)
    runner = Runner(blood_cells(tmp_path), tmp_path / "checkpoints", burn_in=1, steps=0)
    experiment = Experiment("P", "scratch", "source-only", 0)
    with monkeypatch.context() as during:
        during.setattr(running, "evaluate", cut_off)
        with pytest.raises(KeyboardInterrupt):
            runner.run(experiment)
    monkeypatch.setattr(Adaptation, "advance", cut_off)
    assert runner.run(experiment)["ended"] is None


def line(target: str, method: str, seed: int, ap50: float, of_cells: float) -> dict[str, Any]:
    found = {"WBC": of_cells, "RBC": of_cells, "Platelets": 3 * ap50 - 2 * of_cells}
    classes = {name: {"AP": one, "AP50": one, "AP75": one, "objects": 9} for name, one in found.items()}
    figures = {"AP": ap50 / 2, "AP50": ap50, "AP75": ap50 / 3, "classes": classes}
    return {
        "key": f"{target}/imagenet/{method}/{seed}",
        "target": target, "backbone": "imagenet", "method": method, "seed": seed, "figures": figures, "ended": None,
        "labels_per_picture": 12.0,
    }  # fmt: skip


def test_differences_are_of_seeds_that_both_have(tmp_path: Path) -> None:
    lines = [
        line("P", "source-only", 0, 0.50, 0.70),
        line("P", "mean-teacher", 0, 0.60, 0.75),
        line("P", "mean-teacher", 1, 0.90, 0.95),
        line("P", "acia", 0, 0.64, 0.80),
        line("P", "acia", 1, 0.80, 0.88),
        line("P", "strong", 0, 0.62, 0.81),
        line("R", "source-only", 0, 0.50, 0.60),
        line("R", "acia", 0, 0.40, 0.70),
    ]
    write_report(lines, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert "| B and R to P | +14.0 (+10.0) | +2.0 (-1.0) | -3.0 (-1.0) | +10.0 (+5.0) |" in text
    assert "| B and P to R | -10.0 (+10.0) |  |  |  |" in text
    assert "72.0 (64.0 to 80.0) | 84.0 (80.0 to 88.0)" in text
    assert "WBC (9)" in text
    assert "| mean | +2.0 (+10.0) | +2.0 (-1.0) | -3.0 (-1.0) | +10.0 (+5.0) |" in text
