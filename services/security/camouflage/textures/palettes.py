"""Sets of colours: those that backgrounds are made of, and those that a printer has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from services.security.camouflage.rendering.colours import from_lab, to_lab, to_linear, to_srgb

Floats = NDArray[np.float32]

COLOURS: Final = 6
"""Colours of a palette, unless asked for otherwise."""

_PIXELS: Final = 4096
"""Pixels of all pictures together that a palette is made of."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours, the most frequent first.

    Attributes:
        colours: float32 (n, 3), sRGB in [0, 1].
        shares: float32 (n,), of the pixels nearest to each; their sum is 1.
    """

    colours: Floats
    shares: Floats


def find_palette(pictures: Sequence[NDArray[np.floating]], *, colours: int = COLOURS, seed: int = 0) -> Palette:
    """The colours that pictures are made of: means of clusters in CIELAB (k-means).

    Args:
        pictures: (height, width, 3) each, sRGB in [0, 1]; each gives equally many pixels.
        colours: at most so many; fewer where pictures have fewer.
        seed: of the pixels drawn and of the first means.

    Raises:
        ValueError: there is no picture.
    """
    if not pictures:
        raise ValueError("a palette needs a picture")
    rng = np.random.default_rng(seed)
    each = max(1, _PIXELS // len(pictures))
    drawn = [one.reshape(-1, 3)[rng.integers(0, one.shape[0] * one.shape[1], each)] for one in pictures]
    lab = to_lab(np.concatenate(drawn)).astype(np.float64)
    count = min(colours, len(np.unique(lab.round(1), axis=0)))
    means, nearest = kmeans2(lab, count, iter=20, minit="++", rng=rng, missing="warn") if count > 1 else _one(lab)
    sizes = np.bincount(nearest, minlength=count)
    order = [int(one) for one in np.argsort(-sizes, kind="stable") if sizes[one]]
    return Palette(from_lab(means[order]), (sizes[order] / sizes.sum()).astype(np.float32))


def _one(lab: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return lab.mean(axis=0, keepdims=True), np.zeros(len(lab), np.int64)


_PAPER: Final = (245, 244, 240)
_INKS: Final[dict[tuple[int, int, int], tuple[int, int, int]]] = {
    (0, 0, 0): _PAPER,
    (1, 0, 0): (0, 158, 224),
    (0, 1, 0): (214, 0, 125),
    (0, 0, 1): (255, 237, 0),
    (0, 1, 1): (226, 0, 26),
    (1, 0, 1): (0, 145, 63),
    (1, 1, 0): (45, 46, 131),
    (1, 1, 1): (52, 44, 41),
}
"""sRGB of paper under none, one, two or three of cyan, magenta and yellow: usual figures for coated paper, not measured
on any press."""
_BLACK: Final = (29, 29, 27)


def _printable() -> Floats:
    """Halftones after Neugebauer (1937): means of the eight overprints in linear light, weighted as Demichel has it."""
    linear = {inks: to_linear(np.array(colour) / 255) for inks, colour in _INKS.items()}
    mixed = []
    for cover in product((0.0, 0.5, 1.0), repeat=3):
        weights = {
            inks: np.prod([one if on else 1 - one for one, on in zip(cover, inks, strict=True)]) for inks in linear
        }
        mixed.append(sum(weights[inks] * colour for inks, colour in linear.items()))
    black = to_linear(np.array(_BLACK) / 255)
    mixed += [(1 - part) * linear[0, 0, 0] + part * black for part in (0.4, 0.75, 1.0)]
    return to_srgb(np.stack(mixed))


PRINTABLE: Final[Floats] = _printable()
"""Thirty colours that a four-colour printer has, float32 (30, 3), sRGB in [0, 1]: cyan, magenta and yellow at 0, 50 and
100 % each, and black alone at 40, 75 and 100 %. The choice is ours; papers on printed patches measured a list of thirty
on a printer of theirs (Sharif et al. 2016, non-printability score)."""
