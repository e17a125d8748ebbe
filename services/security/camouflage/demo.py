"""A texture to try renders with: drawn, no photograph."""

from __future__ import annotations

from typing import Final

import numpy as np

from shared.imaging.pictures import encode_png

SIDE: Final = 128

_COLOURS: Final = np.array([(196, 178, 60), (38, 92, 74), (224, 220, 206), (120, 44, 52)], np.uint8)
_WIDTH: Final = 9.0


def stripes() -> bytes:
    """PNG of wavy stripes in four colours."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    place = columns + 0.6 * rows + 6 * np.sin(rows / 9) + 4 * np.sin(columns / 13)
    return encode_png(_COLOURS[(place // _WIDTH).astype(np.int64) % len(_COLOURS)])
