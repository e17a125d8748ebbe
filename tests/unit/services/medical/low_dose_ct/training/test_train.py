from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from services.medical.low_dose_ct.training.data import GaussianNoisePairs
from services.medical.low_dose_ct.training.losses import absolute_error
from services.medical.low_dose_ct.training.network import WIDTHS, DRUNet, Width
from services.medical.low_dose_ct.training.train import Budget, Training, averaging_update, learning_rate
from services.medical.low_dose_ct.training.weights import load_network, load_record, save_half

TOY = Width(channels=(4, 4, 4, 4), blocks=1)
BUDGET = Budget(steps=40, learning_rate=1e-2, warm_up=5, checkpoint_every=20)


def stripes() -> GaussianNoisePairs:
    picture = np.tile(np.repeat([0.2, 0.8], 4), 8).astype(np.float32)
    return GaussianNoisePairs([np.tile(picture, (64, 1))], side=16, batch=4)


def training(folder: Path, budget: Budget = BUDGET) -> Training:
    torch.manual_seed(0)
    return Training(DRUNet(TOY), stripes(), absolute_error, budget, folder)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    training(tmp_path).run()
    first, last = losses(tmp_path)
    assert last < 0.7 * first


def test_an_interrupted_run_ends_bit_identical_to_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = training(tmp_path / "whole").run()
    interrupted = training(tmp_path / "parts")
    for _ in range(20):
        interrupted._advance()
    interrupted.save()
    resumed = training(tmp_path / "parts").run()
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_budget_is_refused(tmp_path: Path) -> None:
    training(tmp_path).save()
    with pytest.raises(ValueError, match="another budget"):
        training(tmp_path, Budget(steps=41)).run()


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    budget = Budget(steps=100, learning_rate=1.0, warm_up=10)
    assert learning_rate(0, budget) == pytest.approx(0.1)
    assert learning_rate(10, budget) == pytest.approx(1.0)
    assert learning_rate(55, budget) == pytest.approx(0.5)
    assert learning_rate(100, budget) == pytest.approx(0.0)


def test_the_average_of_a_short_run_forgets_its_start() -> None:
    update = averaging_update(0.999)
    averaged = [torch.zeros(1)]
    for count in range(1, 101):
        update(averaged, [torch.ones(1)], torch.tensor(count))
    assert float(averaged[0]) > 0.999


def test_half_precision_weights_come_back(tmp_path: Path) -> None:
    network = DRUNet(WIDTHS["slim"])
    save_half(network, {"noise_level": 0.02}, tmp_path / "weights.pt")
    assert load_record(tmp_path / "weights.pt") == {"noise_level": 0.02}
    loaded = load_network(tmp_path / "weights.pt", "slim")
    for name, weights in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], weights, rtol=1e-3, atol=1e-6)
    assert (tmp_path / "weights.pt").stat().st_size < 2.3e6
