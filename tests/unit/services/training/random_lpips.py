"""LPIPS with weights that were drawn: a distance that knows nothing, for tests of what is done with one."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.training.lpips import Lpips

_KERNELS = ((11, 3, 4), (5, 4, 5), (3, 5, 6), (3, 6, 5), (3, 5, 4))


def random_weights() -> dict[str, Any]:
    """As the published file has them, with few channels."""
    rng = np.random.default_rng(0)
    layers = {
        f"Conv_{number}": {
            "kernel": rng.normal(size=(side, side, taken, made)).astype(np.float32) / side,
            "bias": rng.normal(size=made).astype(np.float32),
        }
        for number, (side, taken, made) in enumerate(_KERNELS)
    }
    linear = {
        f"NetLinLayer_{number}": {"Conv_0": {"kernel": rng.uniform(size=(1, 1, made, 1)).astype(np.float32)}}
        for number, (_, _, made) in enumerate(_KERNELS)
    }
    return {"AlexNet_0": layers, **linear}


def random_lpips() -> Lpips:
    """The distance."""
    return Lpips(random_weights())
