"""How much a texture stands out, beside whether it is found: colour differences, printability, variation, LPIPS.

CIEDE2000 (CIE 142-2001) is scikit-image's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000

from services.security.camouflage.evaluation.shots import Shot
from services.security.camouflage.optimisation.losses import TextureLosses
from services.security.camouflage.rendering.colours import to_lab
from services.security.camouflage.textures.covers import CoverMask
from services.security.camouflage.textures.palettes import PRINTABLE, Palette
from services.training.lpips import Lpips, to_pictures

Floats = NDArray[np.float32]

_BATCH: Final = 16


def colour_difference(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """CIEDE2000 of colours in CIELAB (..., 3), which are broadcast; 0 for equal ones."""
    return np.asarray(deltaE_ciede2000(first.astype(np.float64), second.astype(np.float64)))


def measure_covertness(texture: Floats, cover: CoverMask, palette: Palette) -> dict[str, Any]:
    """Figures of the covered texels, each as much as its surface.

    Args:
        texture: float32 (side, side, 3), sRGB in [0, 1].
        cover: which texels.
        palette: of the backgrounds.

    Returns:
        `ciede2000`, mean difference to the nearest colour of the palette; `printable`, mean distance in sRGB to the
        nearest of thirty printable colours; `variation`, mean absolute difference of neighbours.
    """
    covered = cover.areas > 0
    weights = cover.areas[covered] / cover.areas[covered].sum()
    colours, known = to_lab(texture[covered]), to_lab(palette.colours)
    nearest = colour_difference(colours[:, None], known[None]).min(axis=1)
    losses = TextureLosses(cover, torch.from_numpy(palette.colours), torch.from_numpy(PRINTABLE))
    laid = torch.from_numpy(texture).permute(2, 0, 1)
    return {
        "ciede2000": round(float(nearest @ weights), 3),
        "printable": round(float(losses.printable(laid)), 4),
        "variation": round(float(losses.smooth(laid)), 4),
    }


def measure_lpips(shots: Sequence[Shot], texture: Floats, mask: NDArray[np.bool_], distance: Lpips) -> list[float]:
    """How differently the car looks from what is behind it: LPIPS of each picture to its background without the car.

    Distances are those of the authors' maps, averaged over the car; what the picture shows beside it has no part.

    Args:
        shots: pictures with the car.
        texture: float32 (side, side, 3), sRGB in [0, 1].
        mask: bool (side, side), texels on paint.
        distance: with its weights.
    """
    found: list[float] = []
    for start in range(0, len(shots), _BATCH):
        part = shots[start : start + _BATCH]
        with_car = to_pictures(np.stack([shot.with_texture(texture, mask) for shot in part]))
        without = to_pictures(np.stack([shot.behind for shot in part]))
        with torch.inference_mode():
            maps = distance.maps(with_car, without).numpy()
        found += [float(np.average(one, weights=shot.coverage)) for one, shot in zip(maps, part, strict=True)]
    return found
