"""Each training loss beside the plain one on generated items: trained, calibrated and measured on items of their own.

An experiment takes a seed and gives figures of each way: coverage and average size of sets at alpha 0.1, and what else
the loss is for.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from services.uncertainty.conformal.evaluation import synthetic_data
from services.uncertainty.conformal.evaluation.synthetic_data import Items, perceptron, train
from services.uncertainty.conformal.methods.classification.calibration import calibrate
from services.uncertainty.conformal.methods.metrics import set_metrics
from services.uncertainty.conformal.methods.scores import APS, THR, Score, Sets
from services.uncertainty.conformal.training.discriminative import OrderPreservingAdapter, discriminative_loss
from services.uncertainty.conformal.training.ordinal import UnimodalHead
from services.uncertainty.conformal.training.size_training import SCPO, ConfTr
from services.uncertainty.conformal.training.temperature_scaling import fit_conformal_temperature, fit_temperature
from services.uncertainty.conformal.training.torch_scores import thr_scores
from services.uncertainty.conformal.training.uniformity import UncertaintyAware

ALPHA = "0.1"
CALIBRATING, TESTING = 2000, 4000

Figures = dict[str, dict[str, float]]
Make = Callable[[int], Items]


def small_sets(seed: int) -> Figures:
    """ConfTr, SCPO and the discriminative loss, each from where cross entropy has led a linear classifier."""
    random = np.random.default_rng(seed)
    fitting, *held_out = _parts(lambda count: synthetic_data.outliers(count, random, seed=seed), 2000)
    torch.manual_seed(seed)
    plain = train(nn.Linear(6, 8), functional.cross_entropy, fitting, seed=seed)
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "cross entropy": functional.cross_entropy,
        "ConfTr": ConfTr(alpha=ALPHA),
        "SCPO": SCPO(alpha=ALPHA, threshold=2.0, temperature=0.2),
        "CD loss": lambda logits, labels: discriminative_loss(thr_scores(logits), labels, 0.1),
    }
    trained = {name: train(deepcopy(plain), loss, fitting, seed=seed + 1) for name, loss in losses.items()}
    return {name: _figures(THR(), network, *held_out)[0] for name, network in trained.items()}


def adapted(seed: int) -> Figures:
    """An order-preserving adapter on logits that are confident in the wrong places."""
    random = np.random.default_rng(seed)
    fitting, *held_out = _parts(lambda count: synthetic_data.warped_logits(count, random), 2000)
    adapter = train(
        OrderPreservingAdapter(10),
        lambda logits, labels: discriminative_loss(thr_scores(logits), labels, 0.05),
        fitting,
        seed=seed,
    )
    ways = {"as they are": nn.Identity(), "C-Adapter": adapter}
    return {name: _figures(THR(), network, *held_out)[0] for name, network in ways.items()}


def temperatures(seed: int) -> Figures:
    """APS sets at the temperature of likelihood and at that of ConfTS."""
    random = np.random.default_rng(seed)
    fitting, *held_out = _parts(lambda count: synthetic_data.long_tail(count, random), 1000)
    logits = fitting.inputs.double()
    found = {
        "1": 1.0,
        "TS": fit_temperature(logits, fitting.targets),
        "ConfTS": fit_conformal_temperature(logits, fitting.targets, ALPHA),
    }
    return {
        name: _figures(APS(), _Scaled(value), *held_out)[0] | {"temperature": value} for name, value in found.items()
    }


class _Scaled(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        return logits / self.temperature


def hard_items(seed: int) -> Figures:
    """Coverage of the items whose labels are drawn by lot, with cross entropy of all items and uncertainty-aware."""
    random = np.random.default_rng(seed)
    fitting, *held_out = _parts(lambda count: synthetic_data.partly_random(count, random, seed=seed), 1500)
    torch.manual_seed(seed)
    start = perceptron(20, 6)
    ways = {
        "cross entropy": train(deepcopy(start), functional.cross_entropy, fitting, seed=seed, steps=700, rate=0.003),
        "uncertainty-aware": _aware(deepcopy(start), fitting, seed),
    }
    found = {}
    for name, network in ways.items():
        figures, sets = _figures(APS(), network, *held_out)
        hits = set_metrics.hits(sets, held_out[1].targets.numpy())
        hard = held_out[1].hard.numpy()
        found[name] = figures | {"hard": float(hits[hard].mean()), "others": float(hits[~hard].mean())}
    return found


def _aware(network: nn.Module, items: Items, seed: int, *, share: float = 0.3) -> nn.Module:
    """Trains with the last share of the items reserved for uniformity."""
    generator, loss = torch.Generator().manual_seed(seed), UncertaintyAware()
    first = round((1 - share) * len(items.targets))
    reserved = torch.arange(len(items.targets)) >= first
    optimiser = torch.optim.Adam(network.parameters(), lr=0.003)
    for _ in range(700):
        chosen = torch.randint(0, len(items.targets), (250,), generator=generator)
        uniforms = torch.rand(len(chosen), generator=generator)
        optimiser.zero_grad()
        value = loss(network(items.inputs[chosen]), items.targets[chosen], uniforms, reserved[chosen])
        torch.autograd.backward(value)
        optimiser.step()
    return network


def ordinal_sets(seed: int) -> Figures:
    """Sets of ordered labels of a plain and of a unimodal network, and how many have holes."""
    random = np.random.default_rng(seed)
    fitting, *held_out = _parts(lambda count: synthetic_data.ordered(count, random, seed=seed), 800)
    found = {}
    for name, head in {"plain": nn.Identity(), "unimodal": UnimodalHead()}.items():
        torch.manual_seed(seed)
        network = nn.Sequential(perceptron(8, 10), head)
        train(network, functional.cross_entropy, fitting, seed=seed, rate=0.005)
        figures, sets = _figures(THR(), network, *held_out)
        found[name] = figures | {"with holes": float(with_holes(sets).mean())}
    return found


def with_holes(sets: Sets) -> NDArray[np.bool_]:
    """Which sets of ordered labels (N, K) are no run of neighbours, (N,); empty ones are."""
    labels = np.arange(sets.shape[1])
    first, last = np.where(sets, labels, len(labels)).min(axis=1), np.where(sets, labels, -1).max(axis=1)
    return np.asarray((sets.sum(axis=1) != last - first + 1) & sets.any(axis=1))


def _parts(make: Make, fitting: int) -> list[Items]:
    return [make(count) for count in (fitting, CALIBRATING, TESTING)]


def _figures(score: Score, network: nn.Module, calibrating: Items, testing: Items) -> tuple[dict[str, float], Sets]:
    """Coverage and average size on the items that test, and the sets."""
    with torch.no_grad():
        known, asked = (network(items.inputs).double().numpy() for items in (calibrating, testing))
    random = np.random.default_rng(0)
    calibration = calibrate(score, known, calibrating.targets.numpy(), uniforms=random.random(len(known)))
    sets = calibration.sets(asked, ALPHA, uniforms=random.random(len(asked)))
    covered = set_metrics.coverage(sets, testing.targets.numpy())
    return {"coverage": covered, "size": set_metrics.average_size(sets)}, sets
