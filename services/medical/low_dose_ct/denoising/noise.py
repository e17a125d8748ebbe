"""How much noise a CT slice has, whatever kernel it was reconstructed with: what decides whether it needs a denoiser.

The noise of filtered back-projection grows with frequency up to where the kernel cuts it off, so that the deviation of
a pixel says little about the dose: a sharp kernel at normal dose is noisier than a smooth one at low dose. Two bands of
differences of Gaussians say both: how much noise there is (the coarser band), and how the kernel passes it on (their
ratio). The bands are measured by their median absolute value (Donoho and Johnstone, "Ideal spatial adaptation by
wavelet shrinkage", Biometrika 81, 1994) in soft tissue away from edges, where a scan holds little else than noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu
from shared.imaging.dicom import AIR_HU

_FINE, _COARSE, _STRUCTURE = 0.7, 1.4, 3.0
"""Deviations of the Gaussians in pixels: the bands lie above the first and between the first two; the third shows where
tissue is and where it has edges."""

_BRIGHTEST_HU: Final = 500.0
"""Metal and bone are cut off here, so that their streaks do not reach into the bands."""
_TISSUE_HU: Final = (-80.0, 180.0)
_BODY_HU: Final = -900.0
_EDGE_HU_PER_PIXEL: Final = 12.0
_ENOUGH_PIXELS: Final = 400
_DEVIATION_PER_MEDIAN: Final = 1 / 0.6745

_SCALE, _KERNEL_EXPONENT = 2.35, 1.25
"""Fitted on training and validation patients (594 scans of 700, 4,096 and 12,000 photons, eight kernels) to the true
deviation of the noise after the Hann kernel with cut-off 1; the residual is 16 % (one standard deviation)."""
_LARGEST_RATIO: Final = 2.0
"""Of coarse to fine: smooth kernels reach 1.8. Beyond lie enlarged images, of which the fine band says nothing."""
_WHITE_SCALE: Final = 0.5
"""Of the fine band alone: noise that no back-projection made has little in the coarse one, and is in the way all the
same. Sharp kernels at normal dose reach 26 HU by it."""

_SAMPLE_SIDE, _SAMPLES_PER_SIDE = 512, 3


def equivalent_noise(image: NDArray[np.float32]) -> float:
    """Standard deviation of the noise in soft tissue that the same scan would have after a Hann kernel with cut-off 1.

    Of chest scans simulated with 4,096 photons (LoDoPaB-CT) it is 35 to 150 HU, of most normal-dose slices 8 to 30 HU,
    of an image without noise 0. It scales with the noise. Large images are judged by a sample.

    Args:
        image: normalised attenuation, (rows, columns), finite.

    Returns:
        Hounsfield units, at least 0.
    """
    parts = [np.concatenate(part) for part in zip(*map(_bands, _samples(image)), strict=True)]
    fine, coarse, quality = parts
    wanted = next(mask for mask in (quality >= least for least in (3, 2, 1, 0)) if _is_enough(mask))
    above, between = (_DEVIATION_PER_MEDIAN * float(np.median(np.abs(band[wanted]))) for band in (fine, coarse))
    ratio = min(between / above, _LARGEST_RATIO) if above else _LARGEST_RATIO
    return float(max(_SCALE * between * ratio**_KERNEL_EXPONENT, _WHITE_SCALE * above))


def _is_enough(mask: NDArray[np.bool_]) -> bool:
    return bool(np.count_nonzero(mask) >= _ENOUGH_PIXELS or mask.all())


def _bands(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]]:
    """The two bands, and of each pixel how well it serves: 3 even tissue, 2 tissue, 1 body, 0 air; all flat."""
    blur = scipy.ndimage.gaussian_filter
    seen = np.clip(attenuation_to_hu(image), AIR_HU, _BRIGHTEST_HU)
    fine, coarse, structure = (blur(seen, deviation) for deviation in (_FINE, _COARSE, _STRUCTURE))
    edges = scipy.ndimage.gaussian_gradient_magnitude(seen, _STRUCTURE)
    tissue = (structure > _TISSUE_HU[0]) & (structure < _TISSUE_HU[1])
    quality = (structure > _BODY_HU).astype(np.int8) + tissue + (tissue & (edges < _EDGE_HU_PER_PIXEL))
    return (seen - fine).ravel(), (fine - coarse).ravel(), quality.ravel()


def _samples(image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The image, or squares spread evenly over a large one."""
    spans = [_spans(side) for side in image.shape]
    for rows in spans[0]:
        for columns in spans[1]:
            yield image[rows, columns]


def _spans(side: int) -> list[slice]:
    if side <= _SAMPLE_SIDE * _SAMPLES_PER_SIDE:
        return [slice(0, side)]
    starts = np.linspace(0, side - _SAMPLE_SIDE, _SAMPLES_PER_SIDE).astype(int)
    return [slice(start, start + _SAMPLE_SIDE) for start in starts.tolist()]
