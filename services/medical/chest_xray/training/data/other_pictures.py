"""What is not a frontal chest film, to tell it from one: films turned, inverted or cut, CT slices, photographs, shapes.

No lateral film is at hand. A strip of a film, as narrow as a lateral chest and mirrored onto itself, stands in for one
and is called lateral-like.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy import ndimage

from services.medical.chest_xray.films import prepare_film
from services.medical.chest_xray.training.data.preparation import (
    Placement,
    PreparedFilms,
    read_picture,
    to_bytes,
    to_greys,
)

Field = NDArray[np.float32]

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})


def _close_up(film: Field, random: np.random.Generator) -> Field:
    """A piece of 20 to 35 % of the sides: bones or a soft part, and no chest."""
    height, width = film.shape
    share = random.uniform(0.2, 0.35)
    rows, columns = int(height * share), int(width * share)
    top, left = int(random.integers(height - rows)), int(random.integers(width - columns))
    return film[top : top + rows, left : left + columns]


def _lateral_like(film: Field, random: np.random.Generator) -> Field:
    half = film[:, : film.shape[1] // 2] if random.random() < 0.5 else film[:, film.shape[1] // 2 :]
    strip = ndimage.gaussian_filter((half + half[:, ::-1]) / 2, (1.5, 2.0))
    narrow: Field = strip[:, : max(1, int(strip.shape[1] * random.uniform(0.7, 1.0)))]
    return narrow


CHANGES: Final[Mapping[str, Callable[[Field, np.random.Generator], Field]]] = {
    "upside down": lambda film, random: film[::-1, ::-1],
    "turned left": lambda film, random: np.rot90(film, 1),
    "turned right": lambda film, random: np.rot90(film, 3),
    "inverted": lambda film, random: 1 - film,
    "close-up": _close_up,
    "lateral-like": _lateral_like,
}
"""What makes a film something else; each gives pixels of any size in [0, 1]."""


def changed_films(films: PreparedFilms, size: tuple[int, int], *, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Each film changed in every way, prepared as the service would, uint8 (n, H, W) by the name of the change."""
    found: dict[str, NDArray[np.uint8]] = {}
    for number, (name, change) in enumerate(CHANGES.items()):
        changed = []
        for index in range(len(films)):
            random = np.random.default_rng((seed, number, index))
            film = _crop(to_greys(films.arrays[index]), films.placements[index])
            changed.append(to_bytes(prepare_film(np.ascontiguousarray(change(film, random)), size).array))
        found[name] = np.stack(changed)
    return found


def _crop(film: Field, placement: Placement) -> Field:
    rows = slice(placement.top, placement.top + placement.height)
    return film[rows, placement.left : placement.left + placement.width]


def pictures_of(folder: Path, size: tuple[int, int], *, most: int, seed: int) -> NDArray[np.uint8]:
    """Some pictures of a folder and what is below it as grey films, uint8 (n, H, W); none where it is not there."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    order = np.random.default_rng(seed).permutation(len(files))[:most]
    arrays = [to_bytes(prepare_film(read_picture(files[index]), size).array) for index in order]
    return np.stack(arrays) if arrays else np.zeros((0, *size), np.uint8)


def ct_slices(data: Path, split: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """CT slices of a split of their manifest, from -1000 to 1000 HU, uint8 (n, H, W); none where they are not there."""
    manifest, found = data / "ct" / "manifest.csv", []
    if manifest.exists():
        with manifest.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        for row in rows:
            dataset = pydicom.dcmread(data / "ct" / "slices" / row["file"])
            stored = dataset.pixel_array.astype(np.float32)
            hounsfield = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            shown = np.clip((hounsfield + 1000) / 2000, 0, 1).astype(np.float32)
            found.append(to_bytes(prepare_film(shown, size).array))
    return np.stack(found) if found else np.zeros((0, *size), np.uint8)


def other_pictures(
    data: Path, films: PreparedFilms, split: str, size: tuple[int, int], *, seed: int
) -> dict[str, NDArray[np.uint8]]:
    """All that is not a frontal chest film, by kind, none of it of another split.

    Args:
        data: folder of all data sets; of those that are absent there is nothing.
        films: of the split.
        split: `train` learns from photographs of BSDS500's training part and from CT slices of training patients;
            others have BSDS500's test part and the slices of their own split.
        size: height and width of the network.
        seed: of all that is drawn.
    """
    photographs = data / "photos" / "bsds500" / ("train" if split == "train" else "test")
    found = changed_films(films, size, seed=seed)
    found["photograph"] = pictures_of(photographs, size, most=200, seed=seed)
    found["CT slice"] = ct_slices(data, split, size)
    found["drawn"] = drawn_pictures(100, size, seed=seed)
    return {kind: arrays for kind, arrays in found.items() if len(arrays)}


def drawn_pictures(count: int, size: tuple[int, int], *, seed: int) -> NDArray[np.uint8]:
    """Noise of several grains, gradients and discs, uint8 (n, H, W)."""
    random, found = np.random.default_rng(seed), []
    for index in range(count):
        field = ndimage.gaussian_filter(random.standard_normal(size).astype(np.float32), random.choice([0, 2, 8, 30]))
        if index % 2:
            rows, columns = np.mgrid[: size[0], : size[1]]
            for _ in range(int(random.integers(1, 8))):
                row, column, radius = random.uniform((0, 0, 8), (size[0], size[1], size[1] / 2))
                field[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] += random.normal(0, 3)
        low, high = float(field.min()), float(field.max())
        found.append(to_bytes(prepare_film((field - low) / max(high - low, 1e-6), size).array))
    return np.stack(found)
