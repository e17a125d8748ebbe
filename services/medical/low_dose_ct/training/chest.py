"""The real chest CT slices: which there are, and (low-dose reconstruction, truth) pairs made of them.

The scan is simulated as LoDoPaB-CT does it (4,096 photons per detector bin). Noise-free sinograms take seconds each
and do not change, so they are computed once and kept in a cache folder; noise is drawn anew for each realisation.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from tqdm import tqdm

from services.medical.low_dose_ct.fbp import filtered_back_projection
from services.medical.low_dose_ct.phantoms import chest_phantom
from services.medical.low_dose_ct.simulation import apply_photon_noise, prepare_slice, project_attenuation
from services.medical.low_dose_ct.training.data import Image, Pair

Split = Literal["train", "val", "test"]

SECOND_OF_DUPLICATES = ("ID_0099", "ID_0066", "ID_0034", "ID_0006")
"""Four pairs of files hold the same pixels; the second of each pair is left out."""

NETWORK_INPUT_CUTOFF = 1.0
"""Frequency scaling of the Hann window of the reconstruction that the network sees (DIVal's FBP+UNet)."""

NOISE_SEEDS: dict[str, int] = {"train": 10, "val": 11, "test": 12, "phantom": 13}


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
    """Read a slice as LoDoPaB-CT does: cropped to 362 x 362, transposed, dithered (seeded by the file's name), x in [0, 1]."""
    dataset = pydicom.dcmread(path)
    hu = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
    return prepare_slice(np.maximum(hu, -1024.0), random=np.random.default_rng(seed))
