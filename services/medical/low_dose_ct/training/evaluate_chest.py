"""Low-dose chest CT on held-out patients: the released network beside FBP, TV, the untuned denoiser and the controls.

Simulated scans (LoDoPaB-CT physics, 4,096 photons) of real slices (TCGA); this is not the LoDoPaB-CT test set. Whatever
has to be chosen (strength of TV, noise level told to the untuned denoiser) is chosen on validation patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage.restoration import denoise_tv_chambolle

from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu
from services.medical.low_dose_ct.images.metrics import mean_hu_bias, psnr, ssim
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.training.chest import (
    NOISE_SEEDS,
    Split,
    chest_sinogram,
    chest_slices,
    low_dose_sinogram,
    network_input,
    read_truth,
)
from services.medical.low_dose_ct.training.data import Image
from services.medical.low_dose_ct.training.inference import Denoise
from services.medical.low_dose_ct.training.statistics import bootstrap

Enhance = Callable[[Image], Image]
"""Takes a noisy sinogram (1000, 513), divided by mu_max; returns a slice (362, 362), x in [0, 1] nominal."""

Scores = Mapping[str, Sequence[Mapping[str, float]]]
"""Metrics of every case, by method."""

REFERENCE_CUTOFF = 25 / 39
"""Frequency scaling of the Hann window in LoDoPaB-CT's reference FBP."""

TISSUES = {"air": (-1100.0, -950.0), "lung": (-950.0, -500.0), "soft tissue": (-100.0, 200.0)}
"""Ranges of the truth in HU within which the mean bias is taken."""

LEVEL_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
TV_WEIGHTS = (0.005, 0.01, 0.015, 0.02, 0.03)


@dataclass(frozen=True, slots=True)
class Case:
    """One low-dose scan of one slice."""

    sinogram: Image
    truth: Image
    patient: str
    kernel: str


def chest_cases(data: Path, cache: Path, split: Split) -> list[Case]:
    """The scans of a split, with the same noise at each call."""
    return [
        Case(
            low_dose_sinogram(chest_sinogram(each, cache), (NOISE_SEEDS[split], index, 0)),
            read_truth(each.path),
            each.patient,
            each.kernel,
        )
        for index, each in enumerate(chest_slices(data, split))
    ]


def plain_methods() -> dict[str, Enhance]:
    """The two reference reconstructions without a network."""
    return {
        "FBP Hann 0.641": lambda sinogram: filtered_back_projection(sinogram, frequency_scaling=REFERENCE_CUTOFF),
        "FBP Hann 1.0": network_input,
    }


def with_network(denoise: Denoise, level: float) -> Enhance:
    """FBP followed by a denoiser that is told a fixed noise level."""
    return lambda sinogram: denoise(network_input(sinogram), level)


def with_total_variation(weight: float) -> Enhance:
    """FBP followed by total-variation denoising (Chambolle 2004, as scikit-image has it)."""

    def enhance(sinogram: Image) -> Image:
        smoothed: Image = denoise_tv_chambolle(network_input(sinogram), weight=weight).astype(np.float32)
        return smoothed

    return enhance


def chosen_on_validation(
    make: Callable[[float], Enhance], candidates: Sequence[float], validation: Sequence[Case]
) -> tuple[float, Enhance]:
    """The candidate with the highest mean PSNR on validation patients, and its method."""
    means = [np.mean([psnr(make(value)(case.sinogram), case.truth) for case in validation]) for value in candidates]
    best = candidates[int(np.argmax(means))]
    return best, make(best)


def evaluate_chest(
    methods: Mapping[str, Enhance], cases: Sequence[Case], *, gains: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """Measure every method on every case.

    Args:
        methods: by name.
        cases: scans of held-out patients.
        gains: pairs of methods, whose PSNR difference (second minus first) is given with its paired interval.
    """
    scores = {name: [_score(method(case.sinogram), case.truth) for case in cases] for name, method in methods.items()}
    patients = [case.patient for case in cases]
    return {
        "slices": len(cases),
        "patients": len(set(patients)),
        "methods": {name: _summary(rows, patients) for name, rows in scores.items()},
        "psnr_by_kernel": _by_kernel(scores, [case.kernel for case in cases]),
        "psnr_gains": [_gain(scores, over, of, patients) for over, of in gains],
    }


def _gain(
    scores: Mapping[str, Sequence[Mapping[str, float]]], over: str, of: str, patients: Sequence[str]
) -> dict[str, Any]:
    differences = [after["psnr"] - before["psnr"] for before, after in zip(scores[over], scores[of], strict=True)]
    return {"over": over, "of": of, **asdict(bootstrap(differences, patients))}


def _score(image: Image, truth: Image) -> dict[str, float]:
    score = {
        "psnr": psnr(image, truth),
        "ssim": ssim(image, truth),
        "psnr_full_range": psnr(image, truth, data_range=1.0),
        "ssim_full_range": ssim(image, truth, data_range=1.0),
    }
    hu = attenuation_to_hu(truth)
    for tissue, (low, high) in TISSUES.items():
        score[f"bias_hu {tissue}"] = mean_hu_bias(image, truth, mask=(hu >= low) & (hu < high))
    return score


def _summary(rows: Sequence[Mapping[str, float]], patients: Sequence[str]) -> dict[str, Any]:
    return {metric: asdict(bootstrap([row[metric] for row in rows], patients)) for metric in rows[0]}


def _by_kernel(scores: Scores, kernels: Sequence[str]) -> dict[str, Any]:
    return {
        kernel: {
            "slices": kernels.count(kernel),
            **{
                name: float(np.mean([row["psnr"] for row, own in zip(rows, kernels, strict=True) if own == kernel]))
                for name, rows in scores.items()
            },
        }
        for kernel in sorted(set(kernels))
    }


def chest_table(result: Mapping[str, Any]) -> str:
    """The result in Markdown: PSNR and SSIM in both definitions, and the mean bias in HU."""
    rows = [
        "| method | PSNR (95 % interval) | SSIM | PSNR-FR | SSIM-FR | bias in HU: " + " / ".join(TISSUES) + " |",
        "|---|---|---|---|---|---|",
    ]
    for name, method in result["methods"].items():
        quality = method["psnr"]
        bias = " / ".join(f"{method[f'bias_hu {tissue}']['mean']:+.1f}" for tissue in TISSUES)
        rows.append(
            f"| {name} | {quality['mean']:.2f} ({quality['low']:.2f} to {quality['high']:.2f}) "
            f"| {method['ssim']['mean']:.4f} | {method['psnr_full_range']['mean']:.2f} "
            f"| {method['ssim_full_range']['mean']:.4f} | {bias} |"
        )
    rows += ["", "| PSNR gain | over | dB (95 % interval, paired by patient) |", "|---|---|---|"]
    rows += [
        f"| {gain['of']} | {gain['over']} | {gain['mean']:+.2f} ({gain['low']:+.2f} to {gain['high']:+.2f}) |"
        for gain in result["psnr_gains"]
    ]
    return "\n".join([*rows, "", *_kernel_table(result)])


def _kernel_table(result: Mapping[str, Any]) -> list[str]:
    methods = list(result["methods"])
    rows = ["| PSNR by kernel | slices | " + " | ".join(methods) + " |", "|---" * (len(methods) + 2) + "|"]
    for kernel, row in result["psnr_by_kernel"].items():
        rows.append(f"| {kernel} | {row['slices']} | " + " | ".join(f"{row[name]:.2f}" for name in methods) + " |")
    return rows
