"""What the service answers beside the dose and kernel that its network was tuned for, and on slices that need no help.

Two denoisers beside each other: the network of stage 2 (version 1.0.0), whose whole answer was given whatever was
posted, and what the service gives now, by the code that it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.medical.low_dose_ct.images.attenuation import MU_MAX, attenuation_to_hu
from services.medical.low_dose_ct.images.metrics import psnr
from services.medical.low_dose_ct.inference import denoise
from services.medical.low_dose_ct.inputs import read_slice
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.filters import FilterName
from services.medical.low_dose_ct.scanning.simulation import PHOTONS, apply_photon_noise
from services.medical.low_dose_ct.training.chest import (
    NOISE_SEEDS,
    ChestSlice,
    Split,
    chest_sinogram,
    chest_slices,
    read_truth,
)
from services.medical.low_dose_ct.training.data import Image
from services.medical.low_dose_ct.training.statistics import bootstrap
from shared.imaging.dicom import AIR_HU
from shared.imaging.windows import WINDOWS
from shared.runtime.models.sessions import OnnxModel

Answer = Callable[[Image], tuple[Image, float]]
"""Takes an image in normalised attenuation; returns what is answered, and the share of the network's answer in it."""

BEFORE, NOW = "network of version 1.0.0, whole answer", "answer of the service"

DOSES: Final = (500, 1000, 2048, PHOTONS, 16_384, 65_536)
KERNELS: Final[dict[str, tuple[FilterName, float]]] = {
    "Hann 1.0 (tuned)": ("hann", 1.0),
    "Hann 0.8": ("hann", 0.8),
    "Hann 0.641": ("hann", 25 / 39),
    "cosine": ("cosine", 1.0),
    "Shepp-Logan": ("shepp-logan", 1.0),
    "Ram-Lak": ("ram-lak", 1.0),
}
TUNED_KERNEL: Final = "Hann 1.0 (tuned)"

_SOFT_TISSUE_HU: Final = (-100.0, 200.0)
_DARK_HU, _BRIGHT_HU = 100.0, 200.0
"""A pixel that goes from below the first to above the second looks like calcium or contrast that is not there."""
_PIXEL_LIMIT: Final = 2**20


@dataclass(frozen=True, slots=True)
class Condition:
    """A simulated scan."""

    photons: int
    kernel: str


CONDITIONS: Final = tuple(
    dict.fromkeys(
        [Condition(photons, TUNED_KERNEL) for photons in DOSES] + [Condition(PHOTONS, kernel) for kernel in KERNELS]
    )
)


def service_answer(model: OnnxModel) -> Answer:
    """What the service gives of a model."""

    def answer(image: Image) -> tuple[Image, float]:
        result = denoise(image, model)
        return result.after, 1.0 if result.blend is None else result.blend.share

    return answer


def evaluate_range(answers: Mapping[str, Answer], data: Path, cache: Path, split: Split = "test") -> dict[str, Any]:
    """Measure denoisers on normal-dose slices, and on scans of several doses and kernels.

    Args:
        answers: by name.
        data: folder of the data sets.
        cache: folder of noise-free sinograms.
        split: whose patients.
    """
    slices = chest_slices(data, split)
    patients = [each.patient for each in slices]
    return {
        "slices": len(slices),
        "patients": len(set(patients)),
        "normal_dose": {name: _normal_dose(answer, slices, patients) for name, answer in answers.items()},
        "scans": [_scans(condition, answers, slices, patients, cache) for condition in CONDITIONS],
    }


def _normal_dose(answer: Answer, slices: Sequence[ChestSlice], patients: Sequence[str]) -> dict[str, Any]:
    rows = [change_of(_posted(each), answer) for each in slices]
    return {name: _summary([row[name] for row in rows], patients) for name in rows[0]}


def _posted(each: ChestSlice) -> Image:
    """A slice as the service reads it, whole."""
    return read_slice(each.path.read_bytes(), unit="hu", window=WINDOWS["lung"], pixel_limit=_PIXEL_LIMIT).attenuation


def change_of(image: Image, answer: Answer) -> dict[str, float]:
    """What an answer changes of a slice that needs no help.

    Args:
        image: normalised attenuation.
        answer: the denoiser.

    Returns:
        Root mean square and largest change in HU, in soft tissue and everywhere; pixels from below 100 HU to above 200
        HU; pixels below vacuum; the share of the network.
    """
    after, share = answer(image)
    before_hu, after_hu = attenuation_to_hu(image), attenuation_to_hu(after)
    change = after_hu.astype(np.float64) - before_hu
    tissue = change[(before_hu >= _SOFT_TISSUE_HU[0]) & (before_hu < _SOFT_TISSUE_HU[1])]
    return {
        "rms_soft_tissue_hu": float(np.sqrt(np.mean(tissue**2))),
        "rms_hu": float(np.sqrt(np.mean(change**2))),
        "largest_hu": float(np.abs(change).max()),
        "new_bright_pixels": float(np.count_nonzero((before_hu < _DARK_HU) & (after_hu > _BRIGHT_HU))),
        "below_vacuum_pixels": float(np.count_nonzero(after_hu < AIR_HU)),
        "network_share": share,
    }


def _scans(
    condition: Condition,
    answers: Mapping[str, Answer],
    slices: Sequence[ChestSlice],
    patients: Sequence[str],
    cache: Path,
) -> dict[str, Any]:
    window, cutoff = KERNELS[condition.kernel]
    quality: dict[str, list[float]] = {name: [] for name in ("input", *answers)}
    shares = []
    for index, each in enumerate(slices):
        truth = read_truth(each.path)
        random = np.random.default_rng((NOISE_SEEDS["test"], index, 0))
        integrals = chest_sinogram(each, cache) * MU_MAX
        scan = apply_photon_noise(integrals, photons=condition.photons, random=random) / np.float32(MU_MAX)
        image = filtered_back_projection(scan, filter_name=window, frequency_scaling=cutoff)
        quality["input"].append(psnr(image, truth))
        for name, answer in answers.items():
            after, share = answer(image)
            quality[name].append(psnr(after, truth))
        shares.append(share)
    return {
        "photons": condition.photons,
        "kernel": condition.kernel,
        "network_share": float(np.mean(shares)),
        "psnr": {name: asdict(bootstrap(values, patients)) for name, values in quality.items()},
    }


def _summary(values: Sequence[float], patients: Sequence[str]) -> dict[str, float]:
    return {**asdict(bootstrap(values, patients)), "largest": float(np.max(values))}


def range_table(result: Mapping[str, Any]) -> str:
    """The result in Markdown."""
    normal = result["normal_dose"]
    rows = ["| normal-dose slices, change | " + " | ".join(normal) + " |", "|---" * (len(normal) + 1) + "|"]
    for measure, words in _MEASURES.items():
        cells = (f"{row[measure]['mean']:.1f} (at most {row[measure]['largest']:.1f})" for row in normal.values())
        rows.append(f"| {words} | " + " | ".join(cells) + " |")
    methods = list(result["scans"][0]["psnr"])
    rows += ["", "| scan, PSNR | " + " | ".join(methods) + " | share |", "|---" * (len(methods) + 2) + "|"]
    for scan in result["scans"]:
        cells = (f"{scan['psnr'][name]['mean']:.2f}" for name in methods)
        rows.append(
            f"| {scan['photons']} photons, {scan['kernel']} | "
            + " | ".join(cells)
            + f" | {scan['network_share']:.2f} |"
        )
    return "\n".join(rows)


_MEASURES: Final = {
    "rms_soft_tissue_hu": "soft tissue, HU rms",
    "rms_hu": "everywhere, HU rms",
    "largest_hu": "largest, HU",
    "new_bright_pixels": "pixels from below 100 to above 200 HU",
    "below_vacuum_pixels": "pixels below -1024 HU",
    "network_share": "share of the network",
}
