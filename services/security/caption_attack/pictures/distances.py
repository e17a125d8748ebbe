"""How far a picture is from the clean one, and a picture of the difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.imaging.pictures import decode_picture, encode_png
from shared.imaging.signatures import MediaType

_WHITE: Final = 255.0
_SIGMA, _TRUNCATE, _RADIUS = 1.5, 3.5, 5
"""The window of Wang et al. 2004: Gaussian, 11 pixels wide."""
_C1, _C2 = (0.01 * _WHITE) ** 2, (0.03 * _WHITE) ** 2
_GREY: Final = 128


@dataclass(frozen=True, slots=True)
class Distances:
    """Between two pictures of the same size.

    Attributes:
        l0: pixels of which any channel differs.
        linf: greatest difference of a channel, 0 to 255.
        l2: root of the sum of squared differences of channels.
        psnr_db: peak signal-to-noise ratio; None of equal pictures.
        ssim: structural similarity, mean over channels, at most 1.
    """

    l0: int
    linf: int
    l2: float
    psnr_db: float | None
    ssim: float


def measure_distances(clean: NDArray[np.uint8], other: NDArray[np.uint8]) -> Distances:
    """Distances of two (h, w, 3) uint8 pictures."""
    difference = other.astype(np.int64) - clean
    squares = int(np.sum(difference**2))
    psnr = 10 * math.log10(_WHITE**2 * difference.size / squares) if squares else None
    return Distances(
        l0=int(np.any(difference != 0, axis=2).sum()),
        linf=int(np.abs(difference).max()),
        l2=math.sqrt(squares),
        psnr_db=psnr,
        ssim=structural_similarity(clean, other),
    )


def structural_similarity(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """SSIM with the Gaussian window of Wang et al. 2004, mean over channels.

    The border that the window reaches over is left out, unless nothing else were left.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    variances = _blur(a * a) - mean_a**2 + _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    similar = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    shares = similar / ((mean_a**2 + mean_b**2 + _C1) * (variances + _C2))
    inside = shares[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return float(np.mean(inside if inside.size else shares))


def _blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter  # the service encodes pictures, jobs alone measure them

    blurred: NDArray[np.float64] = gaussian_filter(values, (_SIGMA, _SIGMA, 0), truncate=_TRUNCATE)
    return blurred


def difference_picture(clean: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The difference as (h, w, 3) uint8: grey where there is none, the greatest one stretched to black or white."""
    difference = other.astype(np.float64) - clean
    gain = (_GREY - 1) / max(1.0, float(np.abs(difference).max()))
    return np.rint(_GREY + gain * difference).astype(np.uint8)


def encode_exactly(picture: NDArray[np.uint8]) -> bytes:
    """A PNG of the picture that is decoded to the same pixels; a JPEG would undo a part of the perturbation.

    Raises:
        RuntimeError: it is not.
    """
    content = encode_png(picture)
    if not np.array_equal(decode_png(content), picture):
        raise RuntimeError("a PNG was not decoded to what it was made of")
    return content


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG of ours."""
    pixels = decode_picture(content, limit_pixels=2**31, accepted=(MediaType.PNG,)).pixels
    return np.asarray(pixels, np.uint8)
