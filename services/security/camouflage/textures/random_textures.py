"""Textures like camouflage, drawn at random: what the diffusion model learns from beside photographs, and what an
optimised texture is compared with.

All families threshold smooth random fields whose edges meet, so that a texture can be laid side by side with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

Floats = NDArray[np.float32]


def draw_texture(palette: Floats, side: int, rng: np.random.Generator, family: str | None = None) -> Floats:
    """A texture in colours of a palette.

    Args:
        palette: float32 (n, 3), sRGB in [0, 1], at least two.
        side: texels.
        rng: that decides all.
        family: a key of `FAMILIES`; drawn, if none is given.

    Returns:
        float32 (side, side, 3), sRGB in [0, 1]; its edges meet.

    Raises:
        KeyError: there is no such family.
    """
    name = family or str(rng.choice(list(FAMILIES)))
    drawn = FAMILIES[name](palette, side, rng)
    grain = rng.normal(0, rng.uniform(0, 0.02), (side, side, 1))
    return np.clip(drawn + grain, 0, 1).astype(np.float32)


def draw_palette(rng: np.random.Generator) -> Floats:
    """Three to five colours of any hue, their spread drawn as well; float32 (n, 3)."""
    count = int(rng.integers(3, 6))
    middle, spread = rng.uniform(0.2, 0.7, 3), rng.uniform(0.08, 0.35)
    lightness = rng.normal(0, spread, (count, 1))
    return np.clip(middle + lightness + rng.normal(0, spread * 0.5, (count, 3)), 0, 1).astype(np.float32)


def smooth_field(side: int, scale: tuple[float, float], rng: np.random.Generator) -> NDArray[np.float64]:
    """A periodic Gaussian field of mean 0 and deviation 1, (side, side).

    Args:
        side: texels.
        scale: texels over which values are alike, down and across.
        rng: of the noise.
    """
    spectrum = np.fft.rfft2(rng.normal(size=(side, side)))
    down, across = np.fft.fftfreq(side)[:, None] * scale[0], np.fft.rfftfreq(side)[None] * scale[1]
    field = np.fft.irfft2(spectrum * np.exp(-2 * np.pi**2 * (down**2 + across**2)), s=(side, side))
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-9))


def _layers(palette: Floats, side: int, rng: np.random.Generator, scale: float, stretch: float = 1.0) -> Floats:
    """One colour over the other, each where a field of its own is high."""
    colours = palette[rng.permutation(len(palette))]
    drawn = np.broadcast_to(colours[0], (side, side, 3)).copy()
    for colour in colours[1:]:
        fine = scale * rng.uniform(0.6, 1.4)
        field = smooth_field(side, (fine, fine * stretch), rng) + 0.35 * smooth_field(side, (fine / 3, fine / 3), rng)
        drawn[field > rng.uniform(0.2, 0.9)] = colour
    return drawn


def _blobs(palette: Floats, side: int, rng: np.random.Generator) -> Floats:
    return _layers(palette, side, rng, side * rng.uniform(0.04, 0.12))


def _stripes(palette: Floats, side: int, rng: np.random.Generator) -> Floats:
    drawn = _layers(palette, side, rng, side * rng.uniform(0.025, 0.05), rng.uniform(3, 7))
    return drawn.transpose(1, 0, 2) if rng.random() < 0.5 else drawn


def _digital(palette: Floats, side: int, rng: np.random.Generator) -> Floats:
    """Blobs of squares."""
    square = int(rng.choice([2, 4]))
    return np.kron(_blobs(palette, side // square, rng), np.ones((square, square, 1), np.float32))


def _splinter(palette: Floats, side: int, rng: np.random.Generator) -> Floats:
    """Cells around random points, a colour each."""
    count = int(rng.integers(8, 40))
    nearest = _tree(side, count, rng).query(_grid(side))[1].reshape(side, side)
    return np.asarray(palette[rng.integers(0, len(palette), count)][nearest], np.float32)


def _spots(palette: Floats, side: int, rng: np.random.Generator) -> Floats:
    """Spots, with or without a ring, on a ground."""
    ground, spot, ring = palette[rng.permutation(len(palette))[:3]] if len(palette) > 2 else palette[[0, 1, 1]]
    count = int(rng.integers(15, 70))
    distance = _tree(side, count, rng).query(_grid(side))[0].reshape(side, side)
    distance += side * 0.012 * smooth_field(side, (side * 0.03, side * 0.03), rng)
    radius = side * rng.uniform(0.25, 0.4) / np.sqrt(count)
    drawn = np.broadcast_to(ground, (side, side, 3)).copy()
    drawn[distance < radius * 1.45] = ring if rng.random() < 0.6 else ground
    drawn[distance < radius] = spot
    return drawn


def _soft(palette: Floats, side: int, rng: np.random.Generator) -> Floats:
    """Colours that pass into each other."""
    scale = side * rng.uniform(0.05, 0.15)
    fields = np.stack([smooth_field(side, (scale, scale), rng) for _ in palette], axis=-1)
    shares = np.exp(fields * rng.uniform(1.5, 5))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True) @ palette, np.float32)


def _tree(side: int, count: int, rng: np.random.Generator) -> cKDTree:
    from scipy.spatial import cKDTree

    return cKDTree(rng.uniform(0, side, (count, 2)), boxsize=side)


def _grid(side: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:side, :side] + 0.5
    return np.asarray(np.stack((rows, columns), axis=-1).reshape(-1, 2), np.float64)


FAMILIES: Final[dict[str, Callable[[Floats, int, np.random.Generator], Floats]]] = {
    "blobs": _blobs,
    "stripes": _stripes,
    "digital": _digital,
    "splinter": _splinter,
    "spots": _spots,
    "soft": _soft,
}
"""Ways to draw a texture, by name."""
