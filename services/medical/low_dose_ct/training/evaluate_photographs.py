"""Gaussian denoising on BSD68 at three noise levels, beside the published table (cszn/DnCNN README)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from skimage.metrics import structural_similarity

from services.medical.low_dose_ct.training.inference import Denoise
from services.medical.low_dose_ct.training.photographs import held_out_files, read_grayscale
from services.medical.low_dose_ct.training.statistics import bootstrap

LEVELS = (15, 25, 50)
"""Standard deviations of the noise on the 0-255 scale."""

PUBLISHED = {
    "BM3D": {15: 31.07, 25: 28.57, 50: 25.62},
    "DnCNN-B (one network for all levels)": {15: 31.61, 25: 29.16, 50: 26.23},
    "DRUNet (32.6 M parameters, more photographs)": {15: 31.91, 25: 29.48, 50: 26.59},
}
"""Mean PSNR on BSD68 in dB as published."""


def evaluate_photographs(denoise: Denoise, data: Path, *, name: str = "bsd68") -> dict[str, Any]:
    """PSNR (range 1) and SSIM (range 1) on a test set of photographs with unclipped float noise.

    The noise of picture k is drawn from seed (level, k), so that the figures do not depend on order.

    Args:
        denoise: the denoiser; it is told the true noise level.
        data: folder of the data sets.
        name: "bsd68" or "set12".
    """
    files = held_out_files(data, name)
    levels = {}
    for level in LEVELS:
        scores = np.array([_scores(denoise, file, level, index) for index, file in enumerate(files)])
        interval = bootstrap(list(scores[:, 0]), [file.name for file in files])
        levels[str(level)] = {
            "psnr_db": interval.mean,
            "interval": [interval.low, interval.high],
            "ssim": float(scores[:, 1].mean()),
            "noisy_psnr_db": float(scores[:, 2].mean()),
        }
    return {"dataset": name, "images": len(files), "levels": levels}


def _scores(denoise: Denoise, file: Path, level: int, index: int) -> tuple[float, float, float]:
    clean = read_grayscale(file)
    noise = np.random.default_rng((level, index)).standard_normal(clean.shape, dtype=np.float32)
    noisy = clean + noise * np.float32(level / 255)
    answer = denoise(noisy, level / 255)
    similarity = structural_similarity(clean, answer, data_range=1.0)
    return _psnr(answer, clean), float(similarity), _psnr(noisy, clean)


def _psnr(image: np.ndarray[Any, Any], clean: np.ndarray[Any, Any]) -> float:
    return float(-10 * np.log10(np.mean((image.astype(np.float64) - clean) ** 2)))


def photographs_table(result: dict[str, Any]) -> str:
    """The result beside the published figures, in Markdown."""
    rows = ["| BSD68, PSNR in dB | sigma 15 | sigma 25 | sigma 50 |", "|---|---|---|---|"]
    rows += [f"| {name} | " + " | ".join(f"{row[s]:.2f}" for s in LEVELS) + " |" for name, row in PUBLISHED.items()]
    ours = result["levels"]
    rows.append("| **this model** | " + " | ".join(f"**{ours[str(s)]['psnr_db']:.2f}**" for s in LEVELS) + " |")
    rows.append("| noisy input | " + " | ".join(f"{ours[str(s)]['noisy_psnr_db']:.2f}" for s in LEVELS) + " |")
    return "\n".join(rows)
