"""Training batches: noisy photographs (stage 1), reconstructions of noisy sinograms (stage 2).

A batch is drawn by a callable from a random generator, so that step k of a run always sees the same batch,
whether or not the run was interrupted before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.float32]
Batch = tuple[Tensor, Tensor, Tensor]
"""Noisy image (batch, 1, side, side), noise level (batch,), clean image: all float32, [0, 1] nominal."""


def symmetry(patch: Image, index: int) -> Image:
    """Apply one of the eight flips and quarter turns of the square.

    Args:
        patch: square image, shape (side, side).
        index: 0 (nothing) to 7.
    """
    turned = np.rot90(patch, k=index % 4)
    return turned[:, ::-1] if index >= 4 else turned


def _batch(noisy: list[Image], levels: Sequence[float] | NDArray[np.float32], clean: list[Image]) -> Batch:
    inputs, targets = (torch.from_numpy(np.stack(part)[:, None].astype(np.float32)) for part in (noisy, clean))
    return inputs, torch.as_tensor(levels, dtype=torch.float32), targets


@dataclass(frozen=True, slots=True)
class GaussianNoisePairs:
    """Photographs with white Gaussian noise of a level drawn anew for each patch (stage 1).

    Attributes:
        photographs: clean grayscale images, float32 in [0, 1].
        side: side of the square patches, in pixels.
        batch: patches per batch.
        strongest: upper end of the uniform distribution of the noise level, on the 0-255 scale.
    """

    photographs: Sequence[Image]
    side: int = 64
    batch: int = 16
    strongest: float = 50

    def __call__(self, random: np.random.Generator) -> Batch:
        """Draw one batch."""
        clean = [self._patch(random) for _ in range(self.batch)]
        levels = random.uniform(0, self.strongest / 255, self.batch).astype(np.float32)
        noise = random.standard_normal((self.batch, self.side, self.side), dtype=np.float32)
        noisy = [patch + level * white for patch, level, white in zip(clean, levels, noise, strict=True)]
        return _batch(noisy, levels, clean)

    def _patch(self, random: np.random.Generator) -> Image:
        image = self.photographs[int(random.integers(len(self.photographs)))]
        top, left = (int(random.integers(extent - self.side + 1)) for extent in image.shape)
        return symmetry(image[top : top + self.side, left : left + self.side], int(random.integers(8)))


@dataclass(frozen=True, slots=True)
class Pair:
    """A clean image and reconstructions of it, each from a sinogram with noise of its own.

    Attributes:
        truth: shape (height, width).
        reconstructions: shape (realisations, height, width).
    """

    truth: Image
    reconstructions: Image


def mean_error_level(pairs: Sequence[Pair]) -> float:
    """Standard deviation of (reconstruction - truth) over a training set: the noise level told to the network.

    The published method does not say what the noise map holds during fine-tuning; this is one number for all
    slices, so that a slice of unknown origin needs no guess.
    """
    variance = [float(np.var(pair.reconstructions - pair.truth)) for pair in pairs]
    return float(np.sqrt(np.mean(variance)))


@dataclass(frozen=True, slots=True)
class ReconstructionPairs:
    """Patches of reconstructions and of the truth, at the same place and under the same symmetry (stage 2).

    The parallel-beam geometries used here are symmetric under the eight flips and quarter turns, so that
    turning a pair is the same as turning the scanned object.

    Attributes:
        pairs: training images.
        level: noise level told to the network.
        side: side of the square patches, in pixels, at most that of the images.
        batch: patches per batch.
    """

    pairs: Sequence[Pair]
    level: float
    side: int = 96
    batch: int = 8

    def __call__(self, random: np.random.Generator) -> Batch:
        """Draw one batch."""
        drawn = [self._patches(random) for _ in range(self.batch)]
        return _batch([noisy for noisy, _ in drawn], [self.level] * self.batch, [clean for _, clean in drawn])

    def _patches(self, random: np.random.Generator) -> tuple[Image, Image]:
        pair = self.pairs[int(random.integers(len(self.pairs)))]
        noisy = pair.reconstructions[int(random.integers(len(pair.reconstructions)))]
        top, left = (int(random.integers(extent - self.side + 1)) for extent in pair.truth.shape)
        turn = int(random.integers(8))
        cut = np.s_[top : top + self.side, left : left + self.side]
        return symmetry(noisy[cut], turn), symmetry(pair.truth[cut], turn)
