"""The training loop on coloured squares: it learns, it resumes, and tuning the backbone goes on from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.training.caption_training import CaptionRecipe, CaptionTraining, schedule
from services.perception.captioning.training.data import CaptionSet
from services.perception.captioning.training.features import CUT, map_channels
from services.perception.captioning.training.neighbours import neighbour_captions
from services.perception.captioning.training.plan import RUNS
from services.perception.captioning.training.runs import read_run
from shared.captions.cider import cider_d

RECIPE = CaptionRecipe(
    encoder="tiny", width=32, dropout=0.1, epochs=2, batch=16, learning_rate=1e-2, warm_up=6, minimum_count=2
)
TUNING = replace(RECIPE, epochs=1, learning_rate=1e-3, tail_learning_rate=1e-3, warm_up=2)


def training(recipe: CaptionRecipe, sets: dict[str, CaptionSet], folder: Path) -> CaptionTraining:
    return CaptionTraining(recipe, sets["train"], sets["val"], map_channels("tiny"), folder)


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_it_learns_to_caption_squares(decoder: str, sets: dict[str, CaptionSet], tmp_path: Path) -> None:
    rate = 1e-2 if decoder == "lstm" else 3e-3
    recipe = replace(RECIPE, decoder=decoder, epochs=20, learning_rate=rate, label_smoothing=0.0, coverage=0.0)
    training(recipe, sets, tmp_path).run()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["epoch"] for row in log] == list(range(1, 21))
    assert log[-1]["validation_loss"] < 0.5 * log[0]["validation_loss"]
    best = max(row["CIDEr-D"] for row in log)
    constant = [sets["train"].captions[0][0]] * len(sets["val"])
    assert best > 2 * _cider(constant, sets["val"])
    assert best > 3


def _cider(captions: list[list[str]], data: CaptionSet) -> float:
    return float(np.mean(cider_d(captions, data.captions)))


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one(
    decoder: str, sets: dict[str, CaptionSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, decoder=decoder)
    whole = training(recipe, sets, tmp_path / "whole").run()
    cut = training(recipe, sets, tmp_path / "cut")
    with monkeypatch.context() as patch:
        patch.setattr(cut, "_log", _break_off)
        with pytest.raises(KeyboardInterrupt):
            cut.run()
    resumed = training(recipe, sets, tmp_path / "cut").run()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def _break_off(found: object) -> None:
    raise KeyboardInterrupt


def test_tuning_goes_on_from_a_finished_run_and_changes_the_tail(
    sets: dict[str, CaptionSet], backbone: EfficientNetLite, tmp_path: Path
) -> None:
    training(RECIPE, sets, tmp_path / "first").run()
    first = read_run(tmp_path / "first", backbone)
    published = {name: tensor.clone() for name, tensor in backbone.split(CUT)[1].state_dict().items()}
    tuning = CaptionTraining(
        TUNING,
        sets["train"],
        sets["val"],
        map_channels("tiny"),
        tmp_path / "tuned",
        tail=backbone.split(CUT)[1],
        start=first.captioner.state_dict(),
    )
    assert tuning.validate()["validation_loss"] == pytest.approx(
        first.log[first.epoch - 1]["validation_loss"], abs=0.01
    )
    tuning.run()
    tuned = read_run(tmp_path / "tuned", backbone).captioner
    assert tuned.tail is not None
    changed = {name for name, tensor in tuned.tail.state_dict().items() if not torch.equal(tensor, published[name])}
    assert any(name.endswith("_project_conv.weight") for name in changed)
    assert not any("running" in name for name in changed)  # batch normalisation stays as published


def test_a_run_is_of_one_recipe(sets: dict[str, CaptionSet], tmp_path: Path, backbone: EfficientNetLite) -> None:
    recipe = replace(RECIPE, epochs=1)
    training(recipe, sets, tmp_path).run()
    with pytest.raises(ValueError, match="another recipe"):
        training(replace(recipe, seed=1), sets, tmp_path).run()
    with pytest.raises(ValueError, match="come together"):
        training(replace(recipe, tail_learning_rate=1e-3), sets, tmp_path / "other")
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(checkpoint | {"epoch": 0}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="0 of 1 epochs"):
        read_run(tmp_path, backbone)


def test_learning_rates_rise_and_fall() -> None:
    rates = [schedule(step, RECIPE, steps=100) for step in range(100)]
    assert rates[5] == 1
    assert rates == sorted(rates[:6]) + sorted(rates[6:], reverse=True)
    assert rates[-1] < 1e-3


def test_a_neighbour_lends_its_caption(sets: dict[str, CaptionSet]) -> None:
    for count in (1, 5):
        captions = neighbour_captions(sets["train"], sets["train"].features, neighbours=count)
        known = [words for those in sets["train"].captions for words in those]
        assert all(words in known for words in captions)
    themselves = neighbour_captions(sets["train"], sets["train"].features)
    assert all(words in those for words, those in zip(themselves, sets["train"].captions, strict=True))


def test_the_plan_starts_from_earlier_runs_of_the_same_kind() -> None:
    earlier: dict[str, CaptionRecipe] = {}
    for name, planned in RUNS.items():
        if planned.start is not None:
            start, recipe = earlier[planned.start], planned.recipe
            assert (start.encoder, start.decoder, start.width) == (recipe.encoder, recipe.decoder, recipe.width)
        assert planned.start is not None or planned.recipe.tail_learning_rate == 0
        earlier[name] = planned.recipe
