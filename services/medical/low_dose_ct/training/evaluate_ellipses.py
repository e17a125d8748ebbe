"""DIVal's "ellipses" benchmark (sparse view, fully synthetic) beside the published figures of dip-ct-benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

from services.medical.low_dose_ct.images.metrics import psnr, ssim
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.geometry import ELLIPSES
from services.medical.low_dose_ct.scanning import simulation
from services.medical.low_dose_ct.training.ellipses import network_input
from services.medical.low_dose_ct.training.inference import Denoise
from services.medical.low_dose_ct.training.statistics import bootstrap

REFERENCE_CUTOFF = 27.5 / 39
"""Frequency scaling of the Hann window in DIVal's reference FBP of "ellipses"."""

PUBLISHED = {
    "FBP": (24.18, 0.5939),
    "FBP+UNet, 32 phantoms": (26.33, 0.7895),
    "FBP+UNet, 320 phantoms": (27.12, 0.8321),
    "TV": (27.96, 0.8616),
    "FBP+UNet, 32,000 phantoms": (29.36, 0.8987),
}
"""PSNR in dB and SSIM as published (oterobaguer/dip-ct-benchmark), range of each image."""


def evaluate_ellipses(networks: Mapping[str, tuple[Denoise, float]], *, count: int) -> dict[str, Any]:
    """Measure FBP and networks on the first so many test phantoms.

    Args:
        networks: denoiser and the noise level it is told, by name.
        count: test phantoms, at most 3,200.
    """
    scores: dict[str, list[tuple[float, float]]] = {"FBP": [], **{name: [] for name in networks}}
    for sinogram, truth in islice(simulation.ellipses_pairs("test"), count):
        reference = filtered_back_projection(
            sinogram, ELLIPSES, frequency_scaling=REFERENCE_CUTOFF, ramp="half-bin-shifted"
        )
        images = {"FBP": reference}
        image = network_input(sinogram)
        images |= {name: denoise(image, level) for name, (denoise, level) in networks.items()}
        for name, answer in images.items():
            scores[name].append((psnr(answer, truth), ssim(answer, truth)))
    names = [str(index) for index in range(count)]
    return {
        "phantoms": count,
        "methods": {
            name: {
                "psnr": asdict(bootstrap([row[0] for row in rows], names)),
                "ssim": asdict(bootstrap([row[1] for row in rows], names)),
            }
            for name, rows in scores.items()
        },
    }


def ellipses_table(result: Mapping[str, Any]) -> str:
    """The result beside the published figures, in Markdown."""
    rows = ["| DIVal ellipses | PSNR in dB | SSIM |", "|---|---|---|"]
    rows += [f"| {name} (published) | {quality[0]:.2f} | {quality[1]:.4f} |" for name, quality in PUBLISHED.items()]
    for name, method in result["methods"].items():
        psnr_, ssim_ = method["psnr"], method["ssim"]
        interval = f"{psnr_['low']:.2f} to {psnr_['high']:.2f}"
        rows.append(f"| **{name}** | **{psnr_['mean']:.2f}** ({interval}) | {ssim_['mean']:.4f} |")
    return "\n".join(rows)
