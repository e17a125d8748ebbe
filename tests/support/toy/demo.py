"""An image to play with."""

from __future__ import annotations

import numpy as np

from shared.imaging.arrays import encode_npy


def image() -> bytes:
    """NPY, float32 (8, 8)."""
    return encode_npy(np.eye(8, dtype=np.float32))
