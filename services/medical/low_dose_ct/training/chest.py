"""The real chest CT slices: which there are, and (low-dose reconstruction, truth) pairs made of them.

The scan is simulated as LoDoPaB-CT does it (4,096 photons per detector bin). Noise-free sinograms take seconds each
and do not change, so they are computed once and kept in a cache folder; noise is drawn anew for each realisation.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from tqdm import tqdm

from services.medical.low_dose_ct.images.attenuation import MU_MAX
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from services.medical.low_dose_ct.scanning.simulation import apply_photon_noise, prepare_slice, project_attenuation
from services.medical.low_dose_ct.training.data import Image, Pair

Split = Literal["train", "val", "test"]

SECOND_OF_DUPLICATES = ("ID_0099", "ID_0066", "ID_0034", "ID_0006")
"""Four pairs of files hold the same pixels; the second of each pair is left out."""

NETWORK_INPUT_CUTOFF = 1.0
"""Frequency scaling of the Hann window of the reconstruction that the network sees (DIVal's FBP+UNet)."""

NOISE_SEEDS = {"train": 10, "val": 11, "test": 12, "phantom": 13}
"""First number of the seed of photon noise; slice and realisation follow."""


@dataclass(frozen=True, slots=True)
class ChestSlice:
    """One slice as the manifest of the data set describes it."""

    path: Path
    patient: str
    manufacturer: str
    kernel: str
    split: str


def chest_slices(data: Path, split: Split, *, patients: int | None = None) -> list[ChestSlice]:
    """The slices of a split, without duplicates, in the order of the manifest.

    Args:
        data: folder of the data sets.
        split: train, val or test; no patient is in two of them.
        patients: keep only the slices of the first so many patients (by identifier).

    Raises:
        FileNotFoundError: the data set is not there.
    """
    folder = data / "ct"
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest) if row["split"] == split]
    slices = [
        ChestSlice(folder / "slices" / row["file"], row["patient_id"], row["manufacturer"], row["kernel"], split)
        for row in rows
        if not row["file"].startswith(SECOND_OF_DUPLICATES)
    ]
    kept = sorted({each.patient for each in slices})[:patients]
    return [each for each in slices if each.patient in kept]


def read_truth(path: Path) -> Image:
    """Read a slice as LoDoPaB-CT does: 362 x 362, transposed, dithered (seeded by the file's name), x in [0, 1]."""
    dataset = pydicom.dcmread(path)
    hu = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
    return prepare_slice(np.maximum(hu, -1024.0), random=np.random.default_rng(seed))


def noise_free_sinogram(name: str, make: Callable[[], Image], cache: Path) -> Image:
    """Project an image, or take the projection from the cache.

    Args:
        name: of the file in the cache.
        make: gives the image, only called when it has to be projected.
        cache: folder of earlier projections.
    """
    file = cache / f"{name}.npy"
    if file.exists():
        kept: Image = np.load(file)
        return kept
    sinogram = project_attenuation(make())
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part.npy")
    np.save(unfinished, sinogram)
    unfinished.replace(file)
    return sinogram


def low_dose_sinogram(noise_free: Image, seed: tuple[int, ...]) -> Image:
    """Draw one low-dose scan (4,096 photons) of a noise-free one, both divided by mu_max."""
    noisy: Image = apply_photon_noise(noise_free * MU_MAX, random=np.random.default_rng(seed)) / np.float32(MU_MAX)
    return noisy


def chest_sinogram(each: ChestSlice, cache: Path) -> Image:
    """Noise-free scan of a slice, (1000, 513), divided by mu_max."""
    return noise_free_sinogram(each.path.stem, lambda: read_truth(each.path), cache)


def chest_pairs(data: Path, cache: Path, split: Split, *, realisations: int, patients: int | None = None) -> list[Pair]:
    """Pairs of (reconstructions from low-dose scans, truth), one per slice of a split.

    Args:
        data: folder of the data sets.
        cache: folder of noise-free sinograms.
        split: train, val or test.
        realisations: noise realisations per slice.
        patients: see `chest_slices`.
    """
    slices = chest_slices(data, split, patients=patients)
    return [
        _pair(read_truth(each.path), chest_sinogram(each, cache), (NOISE_SEEDS[split], index), realisations)
        for index, each in enumerate(tqdm(slices, desc=f"{split} slices", mininterval=5))
    ]


def phantom_truth(index: int) -> Image:
    """A synthetic chest in normalised attenuation, (362, 362), in [0, 1]; the same one at each call."""
    random = np.random.default_rng((NOISE_SEEDS["phantom"], index))
    return prepare_slice(chest_phantom(random), random=random)


def phantom_pairs(cache: Path, count: int, *, realisations: int) -> list[Pair]:
    """Pairs made of so many synthetic chest phantoms, with the same physics."""
    pairs = []
    for index in tqdm(range(count), desc="phantoms", mininterval=5):
        truth = phantom_truth(index)
        noise_free = noise_free_sinogram(f"phantom-{index}", partial(phantom_truth, index), cache)
        pairs.append(_pair(truth, noise_free, (NOISE_SEEDS["phantom"], index), realisations))
    return pairs


def _pair(truth: Image, noise_free: Image, seed: tuple[int, int], realisations: int) -> Pair:
    scans = [low_dose_sinogram(noise_free, (*seed, realisation)) for realisation in range(realisations)]
    return Pair(truth=truth, reconstructions=np.stack([network_input(scan) for scan in scans]))


def network_input(sinogram: Image) -> Image:
    """Reconstruct a scan the way the network sees it: Hann window with cut-off 1, spatial ramp."""
    return filtered_back_projection(sinogram, filter_name="hann", frequency_scaling=NETWORK_INPUT_CUTOFF)
