"""The ramp filter and its windows, applied along the detector.

The continuous filter is |f| * W(f). Three ways of making it discrete are at hand, because they differ by one to two
per cent in level and by up to a decibel on sparse data, and published figures depend on the choice:

- `spatial`: transform of the band-limited kernel sampled in space (Kak and Slaney, section 3.3, eq. 61). A uniform disc
  comes back with its own value: the quantitative one, and the default.
- `half-bin-shifted`: |f| sampled half a frequency bin off zero on the padded grid, as ODL does it; published DIVal and
  LoDoPaB figures rest on it.
- `sampled`: |f| sampled on the plain grid of the discrete Fourier transform; loses the mean (2 % on a disc).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import scipy
from numpy.typing import NDArray

from services.medical.low_dose_ct.reconstruction.compilation import share_range

FilterName = Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]
Ramp = Literal["spatial", "half-bin-shifted", "sampled"]

FILTER_NAMES: tuple[FilterName, ...] = get_args(FilterName)
RAMPS: tuple[Ramp, ...] = get_args(Ramp)

BLOCK = 125
"""Projections filtered at once: their transforms stay in the second-level cache."""


def window(relative_frequency: NDArray[np.float64], name: FilterName, frequency_scaling: float) -> NDArray[np.float64]:
    """Return the window W that the ramp is multiplied with.

    Args:
        relative_frequency: |f| / Nyquist frequency of the detector.
        name: the window.
        frequency_scaling: c in (0, 1]; the window is stretched to [0, c] and zero beyond.

    Raises:
        ValueError: unknown name, or scaling outside (0, 1].
    """
    if name not in FILTER_NAMES:
        raise ValueError(f"filter_name must be one of {', '.join(FILTER_NAMES)}, got {name!r}")
    if not 0 < frequency_scaling <= 1:
        raise ValueError(f"frequency_scaling must lie in (0, 1], got {frequency_scaling!r}")
    r = relative_frequency / frequency_scaling
    shape = {
        "ram-lak": np.ones_like(r),
        "shepp-logan": np.sinc(r / 2),
        "cosine": np.cos(math.pi * r / 2),
        "hamming": 0.54 + 0.46 * np.cos(math.pi * r),
        "hann": np.cos(math.pi * r / 2) ** 2,
    }[name]
    return np.where(relative_frequency <= frequency_scaling, shape, 0.0)


def spatial_ramp(length: int, pitch: float) -> NDArray[np.float64]:
    """Return the band-limited ramp kernel on a periodic grid: 1/(4 d^2) at 0, -1/(pi k d)^2 at odd k, else 0."""
    k = np.minimum(np.arange(length), length - np.arange(length))
    kernel = np.zeros(length)
    kernel[0] = 1 / (4 * pitch**2)
    odd = k % 2 == 1
    kernel[odd] = -1 / (math.pi * k[odd] * pitch) ** 2
    return kernel


def padded_length(detectors: int, ramp: Ramp) -> int:
    """Return the length that projections are padded to: 2 * detectors - 1, or the next fast one where that is free."""
    length = 2 * detectors - 1
    return scipy.fft.next_fast_len(length, real=True) if ramp == "spatial" else length


@lru_cache(maxsize=32)
def frequency_response(
    detectors: int, pitch: float, filter_name: FilterName, frequency_scaling: float, ramp: Ramp
) -> NDArray[np.float32]:
    """Return |f| * W(f), in 1 / unit of `pitch`, on the grid of the padded transform.

    Returns:
        float32; for `spatial` and `sampled` the (length // 2 + 1,) frequencies of a real transform, for
        `half-bin-shifted` the (length,) frequencies (k + 1/2) / length of a complex one.

    Raises:
        ValueError: unknown ramp or window, or scaling outside (0, 1].
    """
    if ramp not in RAMPS:
        raise ValueError(f"ramp must be one of {', '.join(RAMPS)}, got {ramp!r}")
    length = padded_length(detectors, ramp)
    if ramp == "half-bin-shifted":
        cycles_per_bin = np.abs(scipy.fft.fftfreq(length) + 0.5 / length)
    else:
        cycles_per_bin = scipy.fft.rfftfreq(length)
    magnitude = cycles_per_bin / pitch
    if ramp == "spatial":
        magnitude = scipy.fft.rfft(spatial_ramp(length, pitch)).real * pitch
    response: NDArray[np.float32] = (magnitude * window(2 * cycles_per_bin, filter_name, frequency_scaling)).astype(
        np.float32
    )
    response.setflags(write=False)
    return response


def _filter_block(
    block: NDArray[np.float32], response: NDArray[np.float32], length: int, ramp: Ramp
) -> NDArray[np.float32]:
    """Filter a few projections (projections, detectors)."""
    detectors = block.shape[-1]
    if ramp == "half-bin-shifted":
        shift = np.exp((1j * math.pi / length) * np.arange(detectors)).astype(np.complex64)
        spectrum = scipy.fft.fft(block * shift.conj(), length)
        spectrum *= response
        shifted = scipy.fft.ifft(spectrum, overwrite_x=True)[:, :detectors]
        real: NDArray[np.float32] = (shifted * shift).real
        return real
    spectrum = scipy.fft.rfft(block, length)
    spectrum *= response
    filtered: NDArray[np.float32] = scipy.fft.irfft(spectrum, length, overwrite_x=True)[:, :detectors]
    return filtered


def filter_projections(
    sinogram: NDArray[np.float32],
    pitch: float,
    *,
    filter_name: FilterName,
    frequency_scaling: float,
    ramp: Ramp,
    threads: int,
) -> NDArray[np.float32]:
    """Filter projections along their last axis with zero padding.

    Args:
        sinogram: (..., detectors), float32.
        pitch: length of a detector bin.
        filter_name: window of the ramp.
        frequency_scaling: cut-off as a fraction of the Nyquist frequency.
        ramp: discrete form of |f|.
        threads: threads to compute with.

    Returns:
        Filtered projections, same shape, float32, per unit of `pitch`.
    """
    detectors = sinogram.shape[-1]
    response = frequency_response(detectors, pitch, filter_name, frequency_scaling, ramp)
    length = padded_length(detectors, ramp)
    projections = sinogram.reshape(-1, detectors)
    filtered = np.empty_like(projections)

    def work(first: int, beyond: int) -> None:
        for start in range(first, beyond, BLOCK):
            block = slice(start, min(start + BLOCK, beyond))
            filtered[block] = _filter_block(projections[block], response, length, ramp)

    share_range(len(projections), threads, work)
    return filtered.reshape(sinogram.shape)
