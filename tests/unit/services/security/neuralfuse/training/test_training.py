"""The training loops on pictures that a small classifier learns within seconds: they learn, and they resume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from services.security.bit_errors.faults import TEST_SEEDS, FaultModel
from services.security.neuralfuse.training import base_training, data, generator_training
from services.security.neuralfuse.training.base_networks import ResNet18
from services.security.neuralfuse.training.base_training import BaseRecipe, BaseTraining, accuracy
from services.security.neuralfuse.training.data import batches
from services.security.neuralfuse.training.generator_training import (
    GeneratorRecipe,
    GeneratorTraining,
    protected_accuracy,
)
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from services.security.neuralfuse.training.runs import read_base_network, read_fuse, read_record
from shared.datasets.traffic_signs import Signs

RECIPE = BaseRecipe(network="tiny", epochs=2, batch=16, warm_up=4, learning_rate=0.1)
RATE = 0.03
"""Of bit errors: the classifier loses much, and other seeds learn to bear it too."""


def stripes(count: int, seed: int) -> Signs:
    """Pictures of two classes, with bars that lie or stand."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, 2, count)
    bars = (np.arange(32)[None, :] + random.integers(0, 8, (count, 1))) // 4 % 2
    lying = np.broadcast_to(bars[:, :, None], (count, 32, 32))
    chosen = np.where(classes[:, None, None] == 0, lying, lying.transpose(0, 2, 1))
    light = random.uniform(0.3, 0.7, (count, 1, 1))
    noisy = chosen * 0.3 + light + random.normal(0, 0.1, chosen.shape) - 0.15
    pictures = np.repeat((noisy.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=3)
    return Signs(pictures, classes.astype(np.int64), np.full(count, -1, np.int64))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(data, "LAYOUT", torch.contiguous_format)
    monkeypatch.setattr(base_training, "BASE_NETWORKS", {"tiny": lambda: ResNet18(classes=2, width=4)})
    monkeypatch.setattr(
        "services.security.neuralfuse.training.runs.BASE_NETWORKS", {"tiny": lambda: ResNet18(classes=2, width=4)}
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def signs() -> tuple[Signs, Signs]:
    return stripes(192, 0), stripes(96, 1)


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_a_classifier_learns_and_a_cut_run_ends_with_the_same_weights(
    signs: tuple[Signs, Signs], tmp_path: Path
) -> None:
    whole = BaseTraining(RECIPE, *signs, tmp_path / "whole").run()
    assert accuracy(whole, signs[1]) > 0.9
    cut = BaseTraining(RECIPE, *signs, tmp_path / "cut")
    cut.network.train()
    cut.train_epoch()
    cut.epoch = 1
    cut.save()
    torch.manual_seed(99)
    assert same(whole, BaseTraining(RECIPE, *signs, tmp_path / "cut").run())
    assert same(whole, read_base_network(tmp_path / "whole"))
    record = read_record(tmp_path / "whole", "train-base")
    assert record.command.startswith("train-base --out runs/neuralfuse/whole --network tiny --epochs 2 --batch 16")
    assert len(record.validation) == 1


def test_another_recipe_does_not_go_on_with_a_run(signs: tuple[Signs, Signs], tmp_path: Path) -> None:
    training = BaseTraining(RECIPE, *signs, tmp_path)
    training.save()
    with pytest.raises(ValueError, match="another recipe"):
        BaseTraining(replace(RECIPE, seed=1), *signs, tmp_path).run()
    with pytest.raises(ValueError, match="0 of 2 epochs"):
        read_record(tmp_path, "train-base")


def test_retraining_with_bit_errors_makes_a_classifier_that_bears_more(
    signs: tuple[Signs, Signs], tmp_path: Path
) -> None:
    base = BaseTraining(RECIPE, *signs, tmp_path / "base").run()
    recipe = replace(RECIPE, epochs=6, bit_error_rate=RATE, start="base")
    robust = BaseTraining(recipe, *signs, tmp_path / "robust", start=base).run()

    def at_low_voltage(network: nn.Module) -> float:
        perturbed, faults = PerturbedNetwork(network), FaultModel(RATE)
        return float(np.mean([accuracy(perturbed.perturb(faults, seed), signs[1]) for seed in TEST_SEEDS]))

    assert at_low_voltage(robust) > at_low_voltage(base) + 0.05


def test_a_generator_learns_at_both_voltages_and_leaves_the_classifier_alone(
    signs: tuple[Signs, Signs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator_training, "TRAINING_SEEDS", 1)  # losses on one chip can be compared
    base = PerturbedNetwork(BaseTraining(RECIPE, *signs, tmp_path / "base").run())
    before = [one.tensor.values.copy() for one in base.stored]
    recipe = GeneratorRecipe(
        generator="UNetS", base="tiny", bit_error_rate=0.01, epochs=3, batch=16, warm_up=4, learning_rate=5e-3
    )
    fuse = GeneratorTraining(recipe, base, *signs, tmp_path / "generator").run()
    log = [json.loads(line) for line in (tmp_path / "generator" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss_nominal"] < 0.8 * log[0]["loss_nominal"]
    assert log[-1]["loss_low"] < 0.8 * log[0]["loss_low"]
    assert protected_accuracy(fuse, base.restore(), signs[1]) > 0.9
    for one, values in zip(base.stored, before, strict=True):
        np.testing.assert_array_equal(one.tensor.values, values)
    assert same(fuse, read_fuse(tmp_path / "generator"))
    assert len(read_record(tmp_path / "generator", "train-generator").validation) == 4


def test_a_generator_goes_on_from_a_finished_run(signs: tuple[Signs, Signs], tmp_path: Path) -> None:
    base = PerturbedNetwork(BaseTraining(RECIPE, *signs, tmp_path / "base").run())
    first = GeneratorRecipe(generator="UNetS", base="tiny", epochs=1, batch=16)
    began = GeneratorTraining(first, base, *signs, tmp_path / "first").run()
    further = replace(first, start="first", learning_rate=0.0)
    training = GeneratorTraining(further, base, *signs, tmp_path / "further", start=began)
    parameters = [parameter.clone() for parameter in began.parameters()]
    for one, other in zip(training.run().parameters(), parameters, strict=True):
        assert torch.equal(one, other)
    record, whole = (read_record(tmp_path / name, "train-generator") for name in ("further", "first"))
    assert record.before == whole
    assert record.hours >= whole.hours
    assert record.command.endswith("--start first")
    assert "--start" not in whole.command


def test_batches_are_the_same_whenever_drawn_and_stay_in_range(signs: tuple[Signs, Signs]) -> None:
    first, second = (list(batches(signs[0], size=50, epoch=3, seed=1, noise=0.5)) for _ in range(2))
    assert len(first) == 3
    for (pictures, classes), (again, labels) in zip(first, second, strict=True):
        assert torch.equal(pictures, again)
        assert torch.equal(classes, labels)
        assert pictures.shape == (50, 3, 32, 32)
        assert -1 <= pictures.min() <= pictures.max() <= 1
