"""Stage 3: the fine-tuned network learns doses and kernels around the one it knows, and to leave alone what is clean.

Every reconstruction carries the noise that `equivalent_noise` finds in it, which is what the network is told when it
serves. So the condition has a meaning, unlike the constant of stage 2. Noisy scans would rule the squared error; each
patch is scaled so that its error counts by one over its noise. The network has no bias, so that scaling image and level
alike scales its answer, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from services.medical.low_dose_ct.denoising.noise import equivalent_noise
from services.medical.low_dose_ct.images.attenuation import MU_MAX, MU_PER_HU
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.filters import FilterName
from services.medical.low_dose_ct.scanning.simulation import PHOTONS, apply_photon_noise
from services.medical.low_dose_ct.training.chest import (
    chest_sinogram,
    chest_slices,
    noise_free_sinogram,
    phantom_truth,
    read_truth,
)
from services.medical.low_dose_ct.training.data import Batch, Image, symmetry

TUNED: Final[tuple[FilterName, float]] = ("hann", 1.0)
KERNELS: Final[tuple[tuple[FilterName, float], ...]] = (
    TUNED, ("hann", 0.8), ("hann", 25 / 39), ("hamming", 0.8), ("cosine", 1.0), ("shepp-logan", 1.0), ("ram-lak", 1.0),
)  # fmt: skip
"""Window and cut-off of the reconstructions: from Ram-Lak to the smooth Hann of LoDoPaB-CT's reference."""

FEWEST_PHOTONS, MOST_PHOTONS = 450.0, 25_000.0
LEAST_LEVEL, LARGEST_LEVEL = (hu * MU_PER_HU / MU_MAX for hu in (10.0, 400.0))
"""Noise that the network is told, normalised attenuation; what lies beyond is told as the nearest of the two."""

TYPICAL_LEVEL: Final = 63 * MU_PER_HU / MU_MAX
"""Median over training slices at the dose and kernel of stage 2: patches of this noise are left as they are."""

_SHARES: Final = (0.35, 0.55, 0.10)
"""Of what is drawn: the dose and kernel of stage 2, any other, and normal-dose slices that are to stay as they are."""
_JITTER: Final = 0.1
_LEAST_COUNTED: Final = np.float32(0.005)
_SEED: Final = 14


@dataclass(frozen=True, slots=True)
class Reconstructions:
    """Images of one slice and their noise.

    Attributes:
        truth: (height, width), normalised attenuation.
        groups: stacks of images, (count, height, width): tuned dose and kernel, any other, the truth itself.
        levels: noise of each image, normalised attenuation, beside `groups`.
    """

    truth: Image
    groups: tuple[Image, ...]
    levels: tuple[NDArray[np.float32], ...]


def level_of(image: Image) -> float:
    """The noise that a network is told of an image, normalised attenuation."""
    level = equivalent_noise(image) * MU_PER_HU / MU_MAX
    return min(max(level, LEAST_LEVEL), LARGEST_LEVEL)


@dataclass(frozen=True, slots=True)
class DoseRangePairs:
    """Patches of reconstructions of any dose and kernel, and of the truth at the same place.

    Attributes:
        slices: training images.
        side: side of the square patches, in pixels.
        batch: patches per batch.
    """

    slices: Sequence[Reconstructions]
    side: int = 96
    batch: int = 8

    def __call__(self, random: np.random.Generator) -> Batch:
        """Draw one batch."""
        noisy, told, clean = zip(*(self._patches(random) for _ in range(self.batch)), strict=True)
        levels = np.array(told, dtype=np.float32)
        scale = np.sqrt(np.float32(TYPICAL_LEVEL) / np.maximum(levels, _LEAST_COUNTED))
        images, targets = (
            torch.from_numpy(np.stack(part)[:, None] * scale[:, None, None, None]) for part in (noisy, clean)
        )
        return images, torch.from_numpy(levels * scale), targets

    def _patches(self, random: np.random.Generator) -> tuple[Image, float, Image]:
        drawn = self.slices[int(random.integers(len(self.slices)))]
        group = int(random.choice(len(_SHARES), p=_SHARES))
        index = int(random.integers(len(drawn.groups[group])))
        level = float(drawn.levels[group][index]) * float(np.exp(random.normal(0, _JITTER)))
        top, left = (int(random.integers(extent - self.side + 1)) for extent in drawn.truth.shape)
        turn, cut = int(random.integers(8)), np.s_[top : top + self.side, left : left + self.side]
        return symmetry(drawn.groups[group][index][cut], turn), level, symmetry(drawn.truth[cut], turn)


def training_reconstructions(
    data: Path, cache: Path, *, phantoms: int, tuned: int, others: int
) -> list[Reconstructions]:
    """Reconstructions of every training slice and of some phantoms.

    Args:
        data: folder of the data sets.
        cache: folder of noise-free sinograms.
        phantoms: synthetic chest phantoms added.
        tuned: realisations of the dose and kernel of stage 2 per slice.
        others: realisations of other doses and kernels per slice.
    """
    sources = list(_sources(data, cache, phantoms))
    return [
        _reconstructions(truth, noise_free, np.random.default_rng((_SEED, index)), tuned, others)
        for index, (truth, noise_free) in enumerate(tqdm(sources, desc="reconstructions", mininterval=5))
    ]


def _sources(data: Path, cache: Path, phantoms: int) -> Iterator[tuple[Image, Image]]:
    for each in chest_slices(data, "train"):
        yield read_truth(each.path), chest_sinogram(each, cache)
    for index in range(phantoms):
        truth = phantom_truth(index)
        yield truth, noise_free_sinogram(f"phantom-{index}", lambda truth=truth: truth, cache)  # type: ignore[misc]


def _reconstructions(
    truth: Image, noise_free: Image, random: np.random.Generator, tuned: int, others: int
) -> Reconstructions:
    def scan(photons: float, kernel: tuple[FilterName, float]) -> Image:
        noisy = apply_photon_noise(noise_free * MU_MAX, photons=photons, random=random) / np.float32(MU_MAX)
        return filtered_back_projection(noisy, filter_name=kernel[0], frequency_scaling=kernel[1], threads=1)

    photons = np.exp(random.uniform(np.log(FEWEST_PHOTONS), np.log(MOST_PHOTONS), others))
    kernels = [KERNELS[int(index)] for index in random.integers(len(KERNELS), size=others)]
    groups = (
        np.stack([scan(PHOTONS, TUNED) for _ in range(tuned)]),
        np.stack([scan(float(count), kernel) for count, kernel in zip(photons, kernels, strict=True)]),
        truth[None],
    )
    levels = tuple(np.array([level_of(image) for image in group], dtype=np.float32) for group in groups)
    return Reconstructions(truth, groups, levels)
