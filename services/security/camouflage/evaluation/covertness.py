"""How much a texture stands out, beside whether it is found: colour differences, printability, variation.

CIEDE2000 (CIE 142-2001) is scikit-image's. LPIPS is not among the measures: no package that is installed here for
development brings its weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000

from services.security.camouflage.covers import CoverMask
from services.security.camouflage.optimisation.losses import TextureLosses
from services.security.camouflage.palettes import PRINTABLE, Palette
from services.security.camouflage.rendering.colours import to_lab

Floats = NDArray[np.float32]


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
