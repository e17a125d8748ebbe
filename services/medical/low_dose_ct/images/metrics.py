"""Image quality against a reference: PSNR, SSIM, and the mean bias in Hounsfield units.

Both PSNR and SSIM depend on what is called the range of values, and published figures use two definitions; quoting one
beside the other fakes several decibels. `data_range=None` is DIVal's: maximum minus minimum of that reference
("per-image range"). `data_range=1.0` is PSNR-FR and SSIM-FR of the LoDoPaB-CT paper ("full range"): x lies in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from services.medical.low_dose_ct.images.attenuation import MU_MAX, MU_PER_HU

FULL_RANGE = 1.0
"""Range of normalised attenuation."""

WINDOW = 7
"""Side of the square window of SSIM."""


_STRIP_PIXELS = 2**18
"""Pixels that are compared at a time: double precision of a large slice as a whole is much memory."""

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def _checked_pair(image: ArrayLike, reference: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    first, second = np.asarray(image), np.asarray(reference)
    if first.shape != second.shape:
        raise ValueError(f"image of shape {first.shape} and reference of shape {second.shape} differ in shape")
    for name, values in (("image", first), ("reference", second)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    return first, second


def _strips(first: NDArray[Any], second: NDArray[Any], *, overlap: int = 0) -> Iterator[Pair]:
    """Both in double precision, some rows at a time; the next begin `overlap` rows before the last ones end."""
    rows = max(1, _STRIP_PIXELS // max(1, math.prod(first.shape[1:])))
    for start in range(0, max(1, len(first) - overlap), rows):
        part = slice(start, start + rows + overlap)
        yield first[part].astype(np.float64), second[part].astype(np.float64)


def _mean_square(first: NDArray[Any], second: NDArray[Any]) -> float:
    sums = (float(np.sum((one - other) ** 2)) for one, other in _strips(np.atleast_1d(first), np.atleast_1d(second)))
    return math.fsum(sums) / int(first.size)


def _resolved_range(reference: NDArray[Any], data_range: float | None) -> float:
    """Return R: the given one, or that of the reference itself."""
    spread = float(np.ptp(reference)) if data_range is None else float(data_range)
    if not math.isfinite(spread) or spread < 0:
        raise ValueError(f"data_range must be a positive finite number, got {data_range!r}")
    if spread == 0:
        raise ValueError("the range is zero: the reference is constant, state a data_range")
    return spread


def psnr(image: ArrayLike, reference: ArrayLike, *, data_range: float | None = None) -> float:
    """Return the peak signal-to-noise ratio 20 log10(R) - 10 log10(MSE), in dB; infinite for equal images.

    Args:
        image: any shape.
        reference: same shape.
        data_range: R; maximum minus minimum of the reference by default.

    Raises:
        ValueError: shapes differ, NaN or infinite values, or a range that is not positive.
    """
    first, second = _checked_pair(image, reference)
    spread = _resolved_range(second, data_range)
    error = _mean_square(first, second)
    return math.inf if error == 0 else 20 * math.log10(spread) - 10 * math.log10(error)


def ssim(image: ArrayLike, reference: ArrayLike, *, data_range: float | None = None) -> float:
    """Return the mean structural similarity, with the defaults of scikit-image.

    Uniform 7 x 7 window, K1 = 0.01, K2 = 0.03, sample covariance, mean over windows that lie wholly in the image
    (Wang et al. 2004, doi 10.1109/TIP.2003.819861).

    Args:
        image: (rows, columns), at least 7 x 7.
        reference: same shape.
        data_range: R; maximum minus minimum of the reference by default.

    Raises:
        ValueError: shapes differ or are too small, NaN or infinite values, or a range that is not positive.
    """
    first, second = _checked_pair(image, reference)
    if first.ndim != 2 or min(first.shape) < WINDOW:
        raise ValueError(f"ssim needs a two-dimensional image of at least {WINDOW} x {WINDOW}, got shape {first.shape}")
    spread = _resolved_range(second, data_range)
    strips = _strips(first, second, overlap=WINDOW - 1)
    sums, counts = zip(*(_similarity(one, other, spread) for one, other in strips), strict=True)
    return float(math.fsum(sums) / sum(counts))


def _similarity(first: NDArray[np.float64], second: NDArray[np.float64], spread: float) -> tuple[float, int]:
    """Sum of the similarities of all windows that lie wholly in two strips, and how many there are."""
    stabiliser_1, stabiliser_2 = (0.01 * spread) ** 2, (0.03 * spread) ** 2
    mean_1, mean_2 = scipy.ndimage.uniform_filter(first, WINDOW), scipy.ndimage.uniform_filter(second, WINDOW)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    variance_1 = sample * (scipy.ndimage.uniform_filter(first * first, WINDOW) - mean_1 * mean_1)
    variance_2 = sample * (scipy.ndimage.uniform_filter(second * second, WINDOW) - mean_2 * mean_2)
    covariance = sample * (scipy.ndimage.uniform_filter(first * second, WINDOW) - mean_1 * mean_2)
    luminance = (2 * mean_1 * mean_2 + stabiliser_1) / (mean_1**2 + mean_2**2 + stabiliser_1)
    structure = (2 * covariance + stabiliser_2) / (variance_1 + variance_2 + stabiliser_2)
    border = WINDOW // 2
    whole = (luminance * structure)[border:-border, border:-border]
    return float(np.sum(whole)), whole.size


def mean_hu_bias(image: ArrayLike, reference: ArrayLike, *, mask: NDArray[np.bool_] | None = None) -> float:
    """Return the mean of image minus reference in Hounsfield units.

    Args:
        image: normalised attenuation.
        reference: normalised attenuation, same shape.
        mask: pixels to take; all by default.

    Raises:
        ValueError: shapes differ, NaN or infinite values, or an empty mask.
    """
    first, second = _checked_pair(image, reference)
    if mask is not None:
        first, second = first[mask], second[mask]
    if first.size == 0:
        raise ValueError("mask selects no pixel")
    sums = (float(np.sum(one - other)) for one, other in _strips(np.atleast_1d(first), np.atleast_1d(second)))
    return math.fsum(sums) / int(first.size) * MU_MAX / MU_PER_HU
