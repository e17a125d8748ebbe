"""Pairs of DIVal's "ellipses" benchmark: sparse-view reconstructions (30 angles) and their synthetic truth."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.geometry import ELLIPSES
from services.medical.low_dose_ct.scanning import simulation
from services.medical.low_dose_ct.scanning.phantoms import Split
from services.medical.low_dose_ct.training.data import Image, Pair

EXTRA_NOISE_SEED = 20


def ellipses_pairs(split: Split, count: int, *, realisations: int = 1) -> list[Pair]:
    """The first so many pairs of a split.

    The first reconstruction of each pair is that of the benchmark's own noisy sinogram. Further ones redraw the noise
    (2.5 % of the mean absolute projection, as the benchmark draws it) on a new projection of the same phantom.

    Args:
        split: train, validation or test.
        count: phantoms.
        realisations: reconstructions per phantom.
    """
    pairs = []
    for index, (sinogram, truth) in enumerate(islice(simulation.ellipses_pairs(split), count)):
        scans = [sinogram, *_redrawn(truth, index, realisations - 1)]
        pairs.append(Pair(truth=truth, reconstructions=np.stack([network_input(scan) for scan in scans])))
    return pairs


def network_input(sinogram: Image) -> Image:
    """Reconstruct a scan the way the network sees it: Hann window with cut-off 1, spatial ramp."""
    return filtered_back_projection(sinogram, ELLIPSES, filter_name="hann", frequency_scaling=1.0)


def _redrawn(truth: Image, index: int, count: int) -> list[Image]:
    if count == 0:
        return []
    clean = simulation.project_attenuation(truth, ELLIPSES, side=simulation.ELLIPSES_SIDE)
    deviation = simulation.ELLIPSES_NOISE * float(np.mean(np.abs(clean)))
    random: Any = np.random.default_rng((EXTRA_NOISE_SEED, index))
    return [(clean + random.normal(0.0, deviation, clean.shape)).astype(np.float32) for _ in range(count)]
