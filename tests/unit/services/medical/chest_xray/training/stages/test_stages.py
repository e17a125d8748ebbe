"""Stages: what each changes, what stays bit for bit, resuming, and that they learn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.medical.chest_xray.training.data.augmentation import AugmentationOptions
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.networks.options import NetworkOptions
from services.medical.chest_xray.training.plan import RUNS
from services.medical.chest_xray.training.stages.batches import Batch
from services.medical.chest_xray.training.stages.films import FilmFolder
from services.medical.chest_xray.training.stages.freezing import train_only
from services.medical.chest_xray.training.stages.objectives import Pooled, Sources, Stages, draw_balanced
from services.medical.chest_xray.training.stages.recipes import Recipe, SimulationOptions, shorten
from services.medical.chest_xray.training.stages.run import FINISHED, TrainingRun, read_run
from services.medical.chest_xray.training.stages.schedule import Plateau, ScheduleOptions
from services.medical.chest_xray.training.stages.training import StageOptions, StageTraining

NETWORK = NetworkOptions(
    growth=4, blocks=(1, 1, 1, 1), initial=8, filters=4, hidden=8, size=(64, 64), opacity=True,
)  # fmt: skip
STAGE = StageOptions(epochs=2, steps=3, batch=6, schedule=ScheduleOptions(learning_rate=1e-3))
RECIPE = Recipe(
    network=NETWORK,
    pretraining=STAGE,
    contrastive=STAGE,
    classifier=STAGE,
    attention=STAGE,
    fusion=STAGE,
    simulation=SimulationOptions(train=8, val=4, test=4),
    augmentation=AugmentationOptions(),
    views=2,
)


@pytest.fixture(scope="session")
def films(drawn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> FilmFolder:
    return FilmFolder(drawn_data, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def sources(films: FilmFolder) -> tuple[Sources, Sources]:
    return films.sources(RECIPE, "train"), films.sources(RECIPE, "val")


def new_network(options: NetworkOptions = NETWORK) -> ChestXrayNetwork:
    torch.manual_seed(0)
    return ChestXrayNetwork(options)


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], network: ChestXrayNetwork) -> set[str]:
    """The parts of a network of which any weight or buffer is another."""
    after = network.state_dict()
    return {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}


def run_stage(network: ChestXrayNetwork, stage: Any, folder: Path, epochs: int | None = None) -> StageTraining[Any]:
    training = StageTraining(network, stage, folder, recipe={"seed": 0}, seed=0)
    training.run(epochs=epochs)
    return training


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("pretraining", {"first", "classifier"}),
        ("contrastive", {"first"}),
        ("classifier", {"first", "classifier"}),
        ("attention", {"second", "decoder", "attention"}),
    ],
)
def test_a_stage_changes_its_parts_and_no_bit_of_others(
    name: str, parts: set[str], sources: tuple[Sources, Sources], tmp_path: Path
) -> None:
    network = new_network()
    before = state_of(network)
    stage = getattr(Stages(network, RECIPE, *sources), name)(STAGE)
    run_stage(network, stage, tmp_path, epochs=1)
    assert changed(before, network) == parts


@pytest.mark.parametrize("first", ["densenet", "lite0"])
def test_the_attention_stage_keeps_statistics_of_the_first_encoder(
    first: str, sources: tuple[Sources, Sources], tmp_path: Path
) -> None:
    network = new_network(replace(NETWORK, first=first))  # type: ignore[arg-type]
    assert network.first is not None
    before = state_of(network.first)
    run_stage(network, Stages(network, RECIPE, *sources).attention(replace(STAGE, epochs=1)), tmp_path)
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(value, network.first.state_dict()[name]) for name, value in before.items())


def test_the_frozen_part_of_lite0_stays_when_diagnosis_is_trained(
    sources: tuple[Sources, Sources], tmp_path: Path
) -> None:
    network = new_network(replace(NETWORK, first="lite0", trained_stages=2))
    before = state_of(network)
    run_stage(network, Stages(network, RECIPE, *sources).classifier(replace(STAGE, epochs=1)), tmp_path)
    moved = {name for name, value in before.items() if not torch.equal(value, network.state_dict()[name])}
    assert any(name.startswith("first.stages.6") for name in moved)
    assert not any(name.startswith(("first.stem", "first.stages.4")) or "running" in name for name in moved)


def test_the_fusion_stage_changes_its_head_alone_and_learns(sources: tuple[Sources, Sources], tmp_path: Path) -> None:
    network = new_network()
    torch.manual_seed(1)
    labels = torch.arange(60) % 3
    features = (
        torch.randn(60, network.classifier.in_features + 4)
        + 2 * torch.eye(3).repeat(20, 20)[:, : network.classifier.in_features + 4]
    )
    pooled = Pooled(features, labels)
    options = StageOptions(epochs=10, steps=20, batch=12, schedule=ScheduleOptions(learning_rate=1e-2))
    before = state_of(network)
    training = run_stage(network, Stages(network, RECIPE, *sources).fusion(options, pooled, pooled), tmp_path)
    assert changed(before, network) == {"fusion"}
    assert training.plateau.best < 0.5 < math.log(3)


def test_a_run_that_was_killed_within_an_epoch_goes_on_to_the_same_weights(
    sources: tuple[Sources, Sources], tmp_path: Path
) -> None:
    options = replace(STAGE, epochs=3)
    straight, killed = new_network(), new_network()
    run_stage(straight, Stages(straight, RECIPE, *sources).attention(options), tmp_path / "straight")
    stage = Stages(killed, RECIPE, *sources).attention(options)

    def draw(step: int) -> Batch:
        if step == 4:  # the second epoch began with step 3
            raise KeyboardInterrupt
        return stage.draw(step)

    with pytest.raises(KeyboardInterrupt):
        run_stage(killed, replace(stage, draw=draw), tmp_path / "resumed")
    torch.manual_seed(99)
    resumed = new_network()
    run_stage(resumed, Stages(resumed, RECIPE, *sources).attention(options), tmp_path / "resumed")
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in straight.state_dict().items())


def test_a_checkpoint_of_another_recipe_is_refused(sources: tuple[Sources, Sources], tmp_path: Path) -> None:
    network = new_network()
    stage = Stages(network, RECIPE, *sources).contrastive(replace(STAGE, epochs=1))
    run_stage(network, stage, tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        StageTraining(network, stage, tmp_path, recipe={"seed": 1}, seed=1).run()


def test_attention_is_learned(sources: tuple[Sources, Sources], tmp_path: Path) -> None:
    network = new_network()
    options = StageOptions(epochs=1, steps=30, batch=6, schedule=ScheduleOptions(learning_rate=1e-2))
    stage = Stages(network, RECIPE, *sources).attention(options)

    def loss() -> float:
        # In training mode: running statistics of so few steps are still those of a new network.
        train_only(network, stage.trained)
        with torch.no_grad():
            return sum(float(stage.losses(stage.draw(step))["attention"]) for step in range(3)) / 3

    before = loss()
    run_stage(network, stage, tmp_path)
    assert loss() < 0.6 * before


def test_the_schedule_lowers_its_rate_takes_back_the_best_and_ends() -> None:
    options = ScheduleOptions(learning_rate=1.0, factor=0.1, patience=1, lowest=0.05, stop_after=6)
    plateau = Plateau(1.0)
    seen = [plateau.take(loss, options) for loss in (3.0, 2.0, 2.5, 2.5, 2.5, 2.5)]
    assert seen == [(True, False), (True, False), (False, False), (False, True), (False, False), (False, True)]
    assert plateau.rate == pytest.approx(0.05)
    assert not plateau.ended(options)
    assert plateau.take(2.5, options) == (False, False)
    assert plateau.take(2.5, options) == (False, False)
    assert plateau.ended(options)
    assert plateau.rate == pytest.approx(0.05)


def test_the_published_schedule_is_that_of_the_paper() -> None:
    options = RUNS["published"].attention
    assert options is not None
    assert options.schedule == ScheduleOptions(1e-4, 0.1, 40, 1e-8, 83)
    assert (options.epochs, options.batch) == (50, 16)


def test_balanced_draws_have_each_class_alike_often() -> None:
    pooled = Pooled(torch.arange(10.0)[:, None], torch.tensor([0] * 8 + [1, 2]))
    drawn = draw_balanced(pooled, 9, (0,))
    assert drawn.labels.bincount().tolist() == [3, 3, 3]
    assert torch.equal(pooled.labels[drawn.features[:, 0].long()], drawn.labels)


@pytest.mark.parametrize("name", ["staged", "joint", "first-alone", "second-alone"])
def test_whole_runs_and_their_ablations_finish_and_are_read_again(name: str, films: FilmFolder, tmp_path: Path) -> None:
    short = shorten(RECIPE, 1)
    recipes = {
        "staged": short,
        "joint": replace(
            short, classifier=None, attention=None, fusion=None, contrastive=None, joint=replace(STAGE, epochs=1)
        ),
        "first-alone": replace(short, network=replace(NETWORK, second=False), attention=None, fusion=None),
        "second-alone": replace(short, network=replace(NETWORK, first="none")),
    }
    finished = TrainingRun(recipes[name], tmp_path, films).run()
    assert (tmp_path / FINISHED).exists()
    assert finished.calibration.temperature > 0
    again = read_run(tmp_path, recipes[name])
    film = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(finished.network(film).logits, again.network(film).logits)
    with pytest.raises(ValueError, match="another recipe"):
        read_run(tmp_path, replace(recipes[name], seed=5))


def test_recipes_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="joint"):
        replace(RECIPE, joint=STAGE)
    with pytest.raises(ValueError, match="second encoder"):
        replace(RECIPE, network=replace(NETWORK, second=False))
