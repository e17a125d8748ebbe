"""The German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012) as tiles of 32x32, and its augmentation.

A track is one physical sign filmed on the way past. Its frames look alike, so tracks are split and never frames.
No flips: an arrow to the left is another sign than one to the right.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

SIDE = 32

_SHIFT = 0.12
_SCALE = 0.15
_TURN = np.deg2rad(12.0)


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

    def select(self, chosen: NDArray[np.bool_]) -> Signs:
        """Those where `chosen` is true."""
        return Signs(self.pictures[chosen], self.classes[chosen], self.tracks[chosen])


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


def batches(signs: Signs, *, size: int, epoch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented batches, the same whenever it is drawn again; a short rest is left out.

    Yields:
        Pictures float32 (size, 3, 32, 32) in [0, 1], and classes int64 (size,).
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(signs))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield augment(as_tensor(signs.pictures[chosen]), random), torch.from_numpy(signs.classes[chosen])


def as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Float32 in [0, 1], (count, 3, 32, 32), of uint8 (count, 32, 32, 3)."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def augment(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Turn by up to 12 degrees, scale by up to 15 %, shift by up to 2 pixels, change light and contrast."""
    count = len(pictures)
    grid = functional.affine_grid(_maps(count, random), list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    contrast, light = (
        torch.from_numpy(random.uniform(low, high, (count, 1, 1, 1)).astype(np.float32))
        for low, high in ((0.6, 1.4), (-0.15, 0.15))
    )
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return ((moved - mean) * contrast + mean + light).clamp(0, 1)


def _maps(count: int, random: np.random.Generator) -> Tensor:
    """Affine maps (count, 2, 3) from places in the new picture to places in the old one."""
    turn = random.uniform(-_TURN, _TURN, count)
    scale = np.exp(random.uniform(-_SCALE, _SCALE, count))
    shift = random.uniform(-_SHIFT, _SHIFT, (count, 2))
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    rows = np.stack([np.stack([cosine, -sine, shift[:, 0]], axis=1), np.stack([sine, cosine, shift[:, 1]], axis=1)], 1)
    return torch.from_numpy(rows.astype(np.float32))


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
