"""What is watched during training: the mean PSNR on pictures that are neither trained nor tested on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.medical.low_dose_ct.images.metrics import psnr
from services.medical.low_dose_ct.training.data import Image, Pair
from services.medical.low_dose_ct.training.inference import network_denoiser
from services.medical.low_dose_ct.training.network import DRUNet
from services.medical.low_dose_ct.training.train import Measure

WATCHED_LEVEL = 25 / 255


def measure_denoising(photographs: Sequence[Image]) -> Measure:
    """PSNR at noise level 25 on given photographs; the noise is the same at each call."""

    def measure(network: DRUNet) -> dict[str, float]:
        denoise = network_denoiser(network)
        random = np.random.default_rng(0)
        errors = []
        for clean in photographs:
            noisy = clean + random.standard_normal(clean.shape, dtype=np.float32) * np.float32(WATCHED_LEVEL)
            errors.append(float(np.mean((denoise(noisy, WATCHED_LEVEL) - clean) ** 2)))
        return {"psnr_25": float(np.mean(-10 * np.log10(errors)))}

    return measure


def measure_pairs(pairs: Sequence[Pair], level: float) -> Measure:
    """PSNR (range of each image) of the enhanced first reconstruction of each pair."""

    def measure(network: DRUNet) -> dict[str, float]:
        denoise = network_denoiser(network)
        return {"psnr": float(np.mean([psnr(denoise(p.reconstructions[0], level), p.truth) for p in pairs]))}

    return measure
