"""Losses of intervals on generated curves: pinball and R2CCP beside squared error, calibrated on items of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from services.uncertainty.conformal.evaluation import synthetic_data
from services.uncertainty.conformal.evaluation.synthetic_data import Items, perceptron, train
from services.uncertainty.conformal.evaluation.synthetic_experiments import ALPHA, CALIBRATING, TESTING, Figures
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.levels import conformal_quantile
from services.uncertainty.conformal.methods.regression.interval_bands import Band, around_points, around_quantiles
from services.uncertainty.conformal.methods.regression.r2ccp import (
    BinnedDensity,
    binned_density,
    contain,
    total_lengths,
)
from services.uncertainty.conformal.methods.regression.split_regression import calibrate
from services.uncertainty.conformal.training.interval_losses import pinball_loss, r2ccp_loss

LEVELS = (0.05, 0.95)
BINS = 40
FITTING, STEPS = 2000, 500


def widening(seed: int) -> Figures:
    """Compare the losses on targets whose spread depends on the input."""
    return _measure(synthetic_data.widening, seed)


def forked(seed: int) -> Figures:
    """Compare the losses on targets that lie on one of two branches."""
    return _measure(synthetic_data.forked, seed)


def _measure(make: Callable[[int, synthetic_data.Random], Items], seed: int) -> Figures:
    random = np.random.default_rng(seed)
    fitting, calibrating, testing = (make(count, random) for count in (FITTING, CALIBRATING, TESTING))
    held_out = calibrating, testing
    point = _train(1, lambda given, targets: (given[:, 0] - targets).square().mean(), fitting, seed)
    pinball = _train(2, lambda given, targets: pinball_loss(given, targets, torch.tensor(LEVELS)), fitting, seed)
    middles = torch.linspace(float(fitting.targets.min()), float(fitting.targets.max()), BINS)
    bins = _train(BINS, lambda logits, targets: r2ccp_loss(logits, targets, middles), fitting, seed)
    points, quantiles = (
        [_outputs(point, items)[:, 0] for items in held_out],
        [_outputs(pinball, one).T for one in held_out],
    )
    return {
        "squared error": _intervals([around_points(one) for one in points], "absolute", held_out),
        "pinball": _intervals([around_quantiles(*one) for one in quantiles], "cqr", held_out),
        "R2CCP": _unions([_density(bins, middles, items) for items in held_out], held_out),
    }


def _train(outputs: int, loss: Callable[[Tensor, Tensor], Tensor], items: Items, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return train(perceptron(1, outputs), loss, items, seed=seed, steps=STEPS)


def _outputs(network: nn.Module, items: Items) -> FloatArray:
    with torch.no_grad():
        found: FloatArray = network(items.inputs).double().numpy()
    return found


def _density(network: nn.Module, middles: Tensor, items: Items) -> BinnedDensity:
    with torch.no_grad():
        probabilities = torch.softmax(network(items.inputs).double(), dim=1).numpy()
    return binned_density(middles.double().numpy(), probabilities)


def _intervals(bands: list[Band], score: str, held_out: tuple[Items, Items]) -> dict[str, float]:
    known, asked = (items.targets.double().numpy() for items in held_out)
    intervals = calibrate(bands[0], known, score=score).intervals(bands[1], ALPHA)
    return {"coverage": float(intervals.contain(asked).mean()), "size": float(intervals.lengths.mean())}


def _unions(densities: list[BinnedDensity], held_out: tuple[Items, Items]) -> dict[str, float]:
    known, asked = (items.targets.double().numpy() for items in held_out)
    bound = conformal_quantile(densities[0].scores(known), ALPHA).value
    sets = densities[1].sets(np.full(len(asked), bound))
    return {"coverage": float(np.mean(contain(sets, asked))), "size": float(total_lengths(sets).mean())}
