"""What the diffusion model learns from: crops of photographs and textures that are drawn, half of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.security.camouflage.optimisation.patterns.diffusion import SIDE
from services.security.camouflage.textures.palettes import find_palette
from services.security.camouflage.textures.random_textures import draw_palette, draw_texture
from shared.datasets.photos import photographs

Floats = NDArray[np.float32]

HELD_OUT: Final = 20
"""Photographs of the training part that validation is drawn from, and no training crop: every tenth."""
_REDUCTIONS: Final = (1, 2)
"""Sizes at which photographs are cut: a whole and a half."""
_OWN_PALETTE: Final = 0.3
"""Share of drawn textures whose colours are drawn as well; the others have those of a photograph."""


@dataclass(frozen=True, slots=True, eq=False)
class Photographs:
    """Pictures that crops are cut out of, uint8 (height, width, 3), and the palette of each."""

    pictures: tuple[NDArray[np.uint8], ...]
    palettes: tuple[Floats, ...]


def read_photographs(data: Path) -> tuple[Photographs, Photographs]:
    """Photographs of BSDS500's training part to train with and to validate with.

    Args:
        data: folder of the data sets.

    Raises:
        FileNotFoundError: the set is not there.
    """
    files = photographs(data, parts=("train",))
    held_out = files[:: len(files) // HELD_OUT]
    return _read([one for one in files if one not in held_out]), _read(held_out)


def _read(files: list[Path]) -> Photographs:
    pictures, palettes = [], []
    for file in files:
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        sizes = [picture.reduce(factor) if factor > 1 else picture for factor in _REDUCTIONS]
        pictures += [np.asarray(one) for one in sizes]
        palettes.append(find_palette([np.asarray(picture, np.float32) / 255], colours=5).colours)
    return Photographs(tuple(pictures), tuple(palettes))


def draw_batch(photos: Photographs, size: int, rng: np.random.Generator) -> Floats:
    """Pictures to learn from, float32 (size, 3, SIDE, SIDE) in [-1, 1]; the first half are crops of photographs."""
    crops = [draw_crop(photos, rng) for _ in range(size // 2)]
    drawn = [_texture(photos, rng) for _ in range(size - len(crops))]
    return np.stack([*crops, *drawn]).transpose(0, 3, 1, 2) * np.float32(2) - np.float32(1)


def draw_crop(photos: Photographs, rng: np.random.Generator) -> Floats:
    """A crop of a photograph, turned and mirrored; float32 (SIDE, SIDE, 3) in [0, 1]."""
    picture = photos.pictures[rng.integers(len(photos.pictures))]
    top, left = (int(rng.integers(0, extent - SIDE + 1)) for extent in picture.shape[:2])
    crop = np.rot90(picture[top : top + SIDE, left : left + SIDE], int(rng.integers(4)))
    return np.asarray((crop[:, ::-1] if rng.random() < 0.5 else crop).astype(np.float32) / 255, np.float32)


def _texture(photos: Photographs, rng: np.random.Generator) -> Floats:
    if rng.random() < _OWN_PALETTE:
        return draw_texture(draw_palette(rng), SIDE, rng)
    palette = photos.palettes[rng.integers(len(photos.palettes))]
    palette = np.clip(palette * rng.uniform(0.7, 1.3) + rng.normal(0, 0.03, 3), 0, 1).astype(np.float32)
    return draw_texture(palette if len(palette) > 1 else draw_palette(rng), SIDE, rng)
