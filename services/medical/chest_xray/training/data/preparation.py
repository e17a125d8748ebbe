"""Films as the network sees them, kept in a folder as bytes, since reading them takes longer than a training step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.medical.chest_xray.films import PREPROCESSING, Prepared, prepare_film
from services.medical.chest_xray.training.data.manifest import FOLDER, Box, Film

ARRAYS: Final = "films.npy"
INDEX: Final = "films.json"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a film lies on the network's grid, in pixels; the rest is black."""

    top: int
    left: int
    height: int
    width: int

    def to_grid(self, box: Box) -> Box:
        """A box of shares of the film as left, top, width and height in pixels of the grid."""
        x, y, width, height = box
        return (self.left + x * self.width, self.top + y * self.height, width * self.width, height * self.height)


def placement_of(prepared: Prepared) -> Placement:
    """Where a prepared film lies."""
    return Placement(prepared.top, prepared.left, prepared.height, prepared.width)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFilms:
    """Films beside what is known of them, all in the same order.

    Attributes:
        films: of the manifest.
        arrays: uint8 (n, H, W), may be mapped from a file; 255 is white.
        placements: where each lies.
    """

    films: Sequence[Film]
    arrays: NDArray[np.uint8]
    placements: Sequence[Placement]

    def __len__(self) -> int:
        return len(self.films)

    def take(self, indices: Sequence[int]) -> PreparedFilms:
        """Some of the films, read into memory."""
        return PreparedFilms(
            [self.films[index] for index in indices],
            np.asarray(self.arrays[list(indices)]),
            [self.placements[index] for index in indices],
        )

    def of_split(self, split: str, splits: Sequence[str] | None = None) -> PreparedFilms:
        """The films of a split of the manifest, or of other splits that are stated for each."""
        stated = splits or [film.split for film in self.films]
        return self.take([index for index, one in enumerate(stated) if one == split])

    def boxes(self, index: int) -> list[Box]:
        """A radiologist's boxes of opacities in pixels of the grid."""
        return [self.placements[index].to_grid(box) for box in self.films[index].boxes]


def prepare_films(data: Path, films: Sequence[Film], folder: Path, size: tuple[int, int]) -> PreparedFilms:
    """Prepare films, or read those that were prepared so before.

    Args:
        data: folder of all data sets.
        films: of the manifest.
        folder: where arrays are kept.
        size: height and width of the network.
    """
    stated = {"size": list(size), "preprocessing": PREPROCESSING, "files": [film.file for film in films]}
    if (known := _read(folder, stated)) is not None:
        return PreparedFilms(films, np.load(folder / ARRAYS, mmap_mode="r"), known)
    prepared = [prepare_film(read_picture(data / FOLDER / "images" / film.file), size) for film in films]
    arrays = np.stack([to_bytes(one.array) for one in prepared])
    placements = [placement_of(one) for one in prepared]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    np.save(folder / ARRAYS, arrays)
    index = stated | {"placements": [asdict(one) for one in placements]}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return PreparedFilms(films, arrays, placements)


def _read(folder: Path, stated: Mapping[str, object]) -> list[Placement] | None:
    """Placements of what is kept in a folder, if it is of these films, this size and this preprocessing."""
    if not (folder / INDEX).exists():
        return None
    kept = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if any(kept[name] != value for name, value in stated.items()):
        return None
    return [Placement(**one) for one in kept["placements"]]


def read_picture(file: Path) -> NDArray[np.float32]:
    """A picture as grey values in [0, 1], (height, width)."""
    with Image.open(file) as opened:
        return to_greys(np.asarray(opened.convert("L")))


def to_bytes(array: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Grey values in [0, 1] as bytes."""
    found: NDArray[np.uint8] = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return found


def to_greys(array: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bytes as grey values in [0, 1]."""
    found: NDArray[np.float32] = np.asarray(array, np.float32) / np.float32(255)
    return found
