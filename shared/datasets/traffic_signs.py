"""The German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012) as tiles of 32x32.

A track is one physical sign filmed on the way past. Its frames look alike, so tracks are split and never frames.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER = "traffic-signs"
"""Name of the set's folder under the setting `data`."""

SIDE = 32
"""Height and width of a tile."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Pictures with their classes.

    Attributes:
        pictures: uint8 RGB, shape (count, 32, 32, 3).
        classes: int64 in 0..42, shape (count,).
        tracks: which physical sign each shows, int64, shape (count,); -1 where not known.
    """

    pictures: NDArray[np.uint8]
    classes: NDArray[np.int64]
    tracks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Signs:
        """Those where `chosen` is true, or at its positions."""
        return Signs(self.pictures[chosen], self.classes[chosen], self.tracks[chosen])

    def tensor(self) -> NDArray[np.float32]:
        """Float32 in [0, 1], (count, 3, 32, 32), as networks want them."""
        return np.ascontiguousarray(self.pictures.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def read_training(folder: Path) -> Signs:
    """The training pictures, one file of tiles for each class.

    Raises:
        FileNotFoundError: the data is not there.
    """
    rows = _rows(folder / "train.csv")
    pictures = _tiles(folder / "train", [f"{int(row['class_id']):02d}.webp" for row in rows], rows)
    tracks = np.array([1000 * int(row["class_id"]) + int(row["track"]) for row in rows], dtype=np.int64)
    return Signs(pictures, _classes(rows), tracks)


def read_test(folder: Path) -> Signs:
    """The official test pictures in their official order.

    Raises:
        FileNotFoundError: the data is not there.
    """
    rows = _rows(folder / "test.csv")
    pictures = _tiles(folder / "test", [row["file"] for row in rows], rows)
    return Signs(pictures, _classes(rows), np.full(len(rows), -1, dtype=np.int64))


def split_by_track(signs: Signs, *, share: float = 0.1, seed: int = 0) -> tuple[Signs, Signs]:
    """Keep a share of each class's tracks, at least one, for validation.

    Returns:
        The training part and the validation part; no track is in both.
    """
    random = np.random.default_rng(seed)
    kept: list[np.int64] = []
    for label in np.unique(signs.classes):
        tracks = np.unique(signs.tracks[signs.classes == label])
        kept += list(random.permutation(tracks)[: max(1, round(share * len(tracks)))])
    chosen = np.isin(signs.tracks, kept)
    return signs.select(~chosen), signs.select(chosen)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _classes(rows: list[dict[str, str]]) -> NDArray[np.int64]:
    return np.array([int(row["class_id"]) for row in rows], dtype=np.int64)


def _tiles(folder: Path, files: list[str], rows: list[dict[str, str]]) -> NDArray[np.uint8]:
    sheets: Mapping[str, NDArray[Any]] = {name: _sheet(folder / name) for name in dict.fromkeys(files)}
    tiles = []
    for name, row in zip(files, rows, strict=True):
        top, left = SIDE * int(row["row"]), SIDE * int(row["col"])
        tiles.append(sheets[name][top : top + SIDE, left : left + SIDE])
    return np.stack(tiles)


def _sheet(path: Path) -> NDArray[np.uint8]:
    with Image.open(path, formats=["WEBP"]) as image:
        return np.asarray(image.convert("RGB"))
