"""Writes files to try the CT routes with: `python -m services.medical.low_dose_ct.demo FOLDER`.

A generated chest phantom, never a patient: the normal-dose slice, the same slice as a low-dose scan would show it, and
the low-dose sinogram. The README's curl commands and its picture are made from them.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

from services.medical.low_dose_ct.images.attenuation import MU_MAX, attenuation_to_hu, hu_to_attenuation
from services.medical.low_dose_ct.inputs import read_slice
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB
from services.medical.low_dose_ct.scanning.chest_phantom import chest_phantom
from services.medical.low_dose_ct.scanning.simulation import CROP, apply_photon_noise, project_attenuation
from shared.imaging.arrays import encode_npy
from shared.imaging.dicom_writing import new_ct
from shared.imaging.windows import parse_window
from shared.storage.zips import pack_zip

SEED = 7


def demo_files(seed: int = SEED) -> dict[str, bytes]:
    """The demonstration files by name; the same seed gives the same arrays.

    Returns:
        `normal-dose.npy` and `normal-dose.dcm` (HU, 362x362), `low-dose-sinogram.npy` (normalised, 1000x513) and
        `low-dose.dcm` (HU of the filtered back-projection of that sinogram).
    """
    random = np.random.default_rng(seed)
    hu = chest_phantom(random)[CROP:-CROP, CROP:-CROP]
    integrals = project_attenuation(hu_to_attenuation(hu), LODOPAB) * np.float32(MU_MAX)
    sinogram = apply_photon_noise(integrals, random=random) / np.float32(MU_MAX)
    noisy_hu = attenuation_to_hu(filtered_back_projection(sinogram))
    spacing = (LODOPAB.pixel_size * 1000, LODOPAB.pixel_size * 1000)
    derivation = "Generated chest phantom, no patient"
    return {
        "normal-dose.npy": encode_npy(hu),
        "normal-dose.dcm": new_ct(hu, spacing_mm=spacing, series_description="Phantom", derivation=derivation),
        "low-dose-sinogram.npy": encode_npy(sinogram),
        "low-dose.dcm": new_ct(noisy_hu, spacing_mm=spacing, series_description="Phantom", derivation=derivation),
    }


@lru_cache(maxsize=1)
def _files() -> dict[str, bytes]:
    return demo_files()


def low_dose_slice() -> bytes:
    """DICOM of the slice as a low-dose scan shows it."""
    return _files()["low-dose.dcm"]


def low_dose_sinogram() -> bytes:
    """NPY of the low-dose sinogram."""
    return _files()["low-dose-sinogram.npy"]


def low_dose_series() -> bytes:
    """ZIP of two slices of a low-dose scan: the noisy one, and the same one upside down, as NPY."""
    hu = read_slice(low_dose_slice(), unit="hu", window=parse_window("lung", pointer="/"), pixel_limit=1024 * 1024).hu
    slices = (encode_npy(np.ascontiguousarray(one)) for one in (hu, np.flipud(hu)))
    return pack_zip(((f"{index}.npy", one) for index, one in enumerate(slices)), compressed=False)


def normal_dose_slice() -> bytes:
    """DICOM of the slice without added noise."""
    return _files()["normal-dose.dcm"]


def main(folder: Path) -> None:
    """Write the demonstration files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in demo_files().items():
        (folder / name).write_bytes(content)
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
