"""What the diffusion model makes of noise, beside what it learned from: numbers for the card and a sheet to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.security.camouflage.optimisation.patterns.ddpm import EVALUATIONS
from services.security.camouflage.optimisation.patterns.diffusion import SIDE, STEPS, NoisePredictor, decode
from services.security.camouflage.training.data import Photographs, draw_batch

Floats = NDArray[np.float32]

SAMPLES: Final = 96
BANK: Final = 3000
"""Training pictures that neighbours are looked for among."""
MANY: Final = 50
"""Evaluations of a decoding that is nearly that of the whole schedule."""


@dataclass(frozen=True, slots=True)
class SampleFigures:
    """Means over samples and over as many held-out pictures.

    Attributes:
        neighbour: root mean square difference (of values in [0, 1]) of a sample to the nearest training picture.
        held_out_neighbour: the same of held-out pictures; samples far below it would be copies.
        contrast: deviation of the pixels of a sample.
        held_out_contrast: the same of held-out pictures.
        validation: loss of the network on held-out pictures, at the steps that were learned.
        gaussian: loss of one that knows mean and deviation of pixels alone.
    """

    neighbour: float
    held_out_neighbour: float
    contrast: float
    held_out_contrast: float
    validation: float
    gaussian: float


@torch.no_grad()
def draw_samples(network: NoisePredictor, count: int, evaluations: int, seed: int = 0) -> Floats:
    """Decoded pictures, float32 (count, 3, SIDE, SIDE) in [0, 1]."""
    latents = torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    decoded = [decode(network, some, evaluations) for some in torch.split(latents, 16)]
    return torch.cat(decoded).mul(0.5).add(0.5).clamp(0, 1).numpy()


def measure_samples(
    network: NoisePredictor, photos: Photographs, held_out: Photographs, validation: float, least_step: int
) -> SampleFigures:
    """The figures of a network in evaluation mode.

    Args:
        network: that samples are of.
        photos: it was trained with.
        held_out: it was validated with.
        validation: its loss on these.
        least_step: of those that it learned.
    """
    rng = np.random.default_rng(1)
    bank = _unit(draw_batch(photos, BANK, rng))
    unseen = _unit(draw_batch(held_out, SAMPLES, rng))
    samples = draw_samples(network, SAMPLES, EVALUATIONS)
    return SampleFigures(
        neighbour=_nearest(samples, bank),
        held_out_neighbour=_nearest(unseen, bank),
        contrast=float(samples.std(axis=(2, 3)).mean()),
        held_out_contrast=float(unseen.std(axis=(2, 3)).mean()),
        validation=validation,
        gaussian=_gaussian_loss(network, unseen * 2 - 1, least_step, rng),
    )


def draw_sheet(network: NoisePredictor, columns: int = 12) -> NDArray[np.uint8]:
    """Samples to look at: two rows of few evaluations above two of many, from the same noise."""
    rows = []
    for evaluations in (EVALUATIONS, MANY):
        samples = draw_samples(network, 2 * columns, evaluations).transpose(0, 2, 3, 1)
        rows += [np.concatenate(list(samples[start : start + columns]), axis=1) for start in (0, columns)]
    return np.asarray(np.concatenate(rows) * 255 + 0.5, np.uint8)


def _unit(pictures: Floats) -> Floats:
    return np.asarray(pictures * 0.5 + 0.5, np.float32)


def _nearest(pictures: Floats, bank: Floats) -> float:
    flat, others = pictures.reshape(len(pictures), -1), bank.reshape(len(bank), -1)
    squares = (flat**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2 * flat @ others.T
    return float(np.sqrt(np.maximum(squares.min(axis=1), 0) / flat.shape[1]).mean())


def _gaussian_loss(network: NoisePredictor, pictures: Floats, least: int, rng: np.random.Generator) -> float:
    """Mean squared error of the velocity that is best for pixels which are normal and know nothing of each other."""
    mean, variance = float(pictures.mean()), float(pictures.var())
    steps = rng.integers(least, STEPS, len(pictures))
    picture, noise = (one.numpy()[steps][:, None, None, None] for one in (network.picture, network.noise))
    drawn = rng.standard_normal(pictures.shape, dtype=np.float32)
    noisy = picture * pictures + noise * drawn
    clean = mean + picture * variance / (picture**2 * variance + noise**2) * (noisy - picture * mean)
    found, right = (picture * noisy - clean) / noise, picture * drawn - noise * pictures
    return float(np.mean((found - right) ** 2))
