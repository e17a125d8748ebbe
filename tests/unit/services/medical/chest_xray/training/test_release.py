"""The released folder: file, card and what was measured of it; and the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from services.medical.chest_xray.roles import OUTPUTS, read_role
from services.medical.chest_xray.training import plan, release
from services.medical.chest_xray.training.__main__ import main
from services.medical.chest_xray.training.cards import Origin
from services.medical.chest_xray.training.exports import export_network
from services.medical.chest_xray.training.figures import boxes_mask
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.screening import ScreeningHead
from services.medical.chest_xray.training.stages.films import FilmFolder
from services.medical.chest_xray.training.stages.recipes import Recipe, SimulationOptions
from services.medical.chest_xray.training.stages.run import Calibration, FinishedRun
from services.medical.chest_xray.training.stages.training import StageOptions
from shared.runtime.cards import read_card, read_weights
from tests.unit.services.medical.chest_xray.training.conftest import SMALL, make_network

SIZED = replace(SMALL, size=(160, 64))
"""So that the cells of the frontal head's grid are whole pixels of its map."""
STAGE = StageOptions(epochs=1, steps=2, batch=6)
RECIPE = Recipe(
    network=SIZED,
    pretraining=STAGE,
    contrastive=None,
    classifier=None,
    attention=STAGE,
    fusion=STAGE,
    simulation=SimulationOptions(train=6, val=4, test=4),
    views=1,
)


def finished(network: ChestXrayNetwork | None = None) -> FinishedRun:
    return FinishedRun(network or make_network(SIZED), Calibration(1.5, 2.0), asdict(RECIPE), 0.5)


def test_a_release_says_what_it_is_and_what_was_measured(drawn_data: Path, tmp_path: Path) -> None:
    origin = Origin(RECIPE, "a test", "python -m services.medical.chest_xray.training train released")
    folder = release.release(finished(), origin, FilmFolder(drawn_data, tmp_path / "cache"), models=tmp_path)
    card = read_card(folder)
    content = read_weights(folder, card)
    assert folder == tmp_path / release.NAME / release.VERSION
    assert len(content) == card.weights.bytes
    role = read_role(card.parameters)
    assert role is not None
    assert role.size == SIZED.size
    assert role.frontal_threshold == pytest.approx(ScreeningHead.read().threshold, abs=1e-4)
    assert "test part" in role.false_refusal_data
    assert [one.name for one in card.outputs] == list(OUTPUTS)
    assert {"CC", "AUC"} <= {word.strip(",") for quality in card.quality for word in quality.metric.split()}
    assert any("not measured gaze" in limit for limit in card.limits)
    assert card.parity.max_abs_difference < 1e-4
    assert (folder / "NOTICE").read_text(encoding="utf-8").startswith("Convolutions")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    shapes = {one.name: list(one.shape) for one in session.get_outputs()}
    assert shapes == {one.name: one.shape for one in card.outputs}


def test_a_graph_that_differs_is_not_released(
    drawn_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = export_network(make_network(SIZED, seed=1), Calibration())
    monkeypatch.setattr(release, "export_network", lambda *_: other)
    with pytest.raises(release.ReleaseRefused, match="differs"):
        release.release(
            finished(), Origin(RECIPE, "", ""), FilmFolder(drawn_data, tmp_path / "cache"), models=tmp_path / "models"
        )
    assert not (tmp_path / "models").exists()


def test_an_ablation_is_not_released(drawn_data: Path, tmp_path: Path) -> None:
    run = finished(make_network(replace(SIZED, second=False)))
    with pytest.raises(release.ReleaseRefused, match="without attention"):
        release.release(run, Origin(RECIPE, "", ""), FilmFolder(drawn_data, tmp_path / "cache"), models=tmp_path)


def test_the_command_line_prepares_trains_and_measures(
    drawn_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, Any] = dict(plan.RUNS) | {"toy": replace(RECIPE, seed=3)}
    monkeypatch.setattr("services.medical.chest_xray.training.__main__.RUNS", known)
    threads = torch.get_num_threads()
    try:
        for command in ("prepare", "train", "measure", "export"):
            main(["--data", str(drawn_data), "--out", str(tmp_path), "--threads", "1", command, "toy"])
    finally:
        torch.set_num_threads(threads)
    figures = json.loads((tmp_path / "toy" / "test.json").read_text(encoding="utf-8"))
    assert (tmp_path / "toy" / "network.onnx").stat().st_size > 10_000
    assert 0 <= figures["diagnosis"]["opacity"]["auc"][0] <= 1
    assert figures["inserted"]["mean map"]["CC"] > 0.3
    assert figures["boxes"]["network"]["films"] == 3
    log = (tmp_path / "toy" / "2-attention" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1]


def test_pixels_of_boxes() -> None:
    inside = boxes_mask([(2.0, 1.0, 3.0, 2.0)], (6, 8))
    assert inside.sum() == 6
    assert inside[1:3, 2:5].all()


def test_the_plan_names_a_run_for_each_ablation_of_the_paper() -> None:
    assert set(plan.RUNS) == {"released", "no-contrastive", "joint", "first-alone", "second-alone", "published"}
    assert plan.RUNS["published"].network.filters == 64
    assert plan.RUNS["published"].network.blocks == (6, 12, 48, 32)
    assert plan.RUNS[plan.RELEASE].network.first == "lite0"
