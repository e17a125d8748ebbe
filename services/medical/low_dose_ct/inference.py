"""From sinogram or noisy slice to enhanced slice: filtered back-projection, then one pass of the network.

Source: Selig, März, Storath, Weinmann, "Low-Dose CT Image Reconstruction by Fine-Tuning a UNet Pretrained for Gaussian
Denoising for the Downstream Task of Image Enhancement" (arXiv 2403.03551). Images are normalised attenuation throughout
(`attenuation.py`), never windowed or clipped on their way into the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.fbp import filtered_back_projection
from services.medical.low_dose_ct.geometry import LODOPAB
from services.medical.low_dose_ct.schemas import ReconstructionOptions
from shared.runtime.batching.items import Answer, Arrays
from shared.runtime.cards import ModelReference, UploadedCard, reference_of
from shared.runtime.sessions import OnnxModel
from shared.telemetry.timing import timed

Image = NDArray[np.float32]

DEFAULT_NOISE_LEVEL = 25 / 255
"""Fed to a model whose card names no level."""


@dataclass(frozen=True, slots=True)
class Enhanced:
    """An image before and after the network, normalised attenuation, float32 (rows, columns)."""

    before: Image
    after: Image
    model: ModelReference | None
    noise_level: float | None


def noise_level_of(card: UploadedCard, wanted: float | None = None) -> float:
    """The level that the network is fed: the wanted one, or that which its card says it was tuned for."""
    tuned_for = cast("float", card.parameters.get("noise_level", DEFAULT_NOISE_LEVEL))
    return wanted or float(tuned_for)


def network_inputs(image: Image, level: float) -> Arrays:
    """What a denoiser is run on: the image, (1, 1, rows, columns), and its noise level, (1,)."""
    return {"image": image[None, None], "noise_level": np.array([level], dtype=np.float32)}


def enhanced(image: Image, outputs: Answer, card: UploadedCard, level: float) -> Enhanced:
    """The image beside what a denoiser answered to `network_inputs`."""
    clean = cast("Image", outputs[0])[0, 0]
    return Enhanced(before=image, after=clean, model=reference_of(card), noise_level=level)


def denoise(image: Image, model: OnnxModel, noise_level: float | None = None) -> Enhanced:
    """Run the network on one slice, in this thread.

    Args:
        image: normalised attenuation, (rows, columns), any size.
        model: a released denoiser.
        noise_level: standard deviation of the noise in normalised attenuation; by default that of the card.
    """
    level = noise_level_of(model.card, noise_level)
    return enhanced(image, model.run(network_inputs(image, level)), model.card, level)


def back_project(sinogram: Image, options: ReconstructionOptions, *, threads: int | None = None) -> Image:
    """The slice before the network: filtered back-projection of a sinogram.

    Args:
        sinogram: line integrals of normalised attenuation times metres, (angles, detectors), finite.
        options: geometry and filter.
        threads: threads of the back-projection.
    """
    with timed("infer"):
        return filtered_back_projection(
            sinogram,
            options.geometry,
            filter_name=options.filter,
            frequency_scaling=options.frequency_scaling,
            ramp=options.ramp,
            threads=threads,
        )


def reconstruct(
    sinogram: Image, options: ReconstructionOptions, model: OnnxModel | None, *, threads: int | None = None
) -> Enhanced:
    """Reconstruct a slice from its sinogram, in this thread.

    Args:
        sinogram: see `back_project`.
        options: geometry, filter and network.
        model: the denoiser, or None to stop after filtered back-projection.
        threads: threads of the back-projection.
    """
    image = back_project(sinogram, options, threads=threads)
    return unenhanced(image) if model is None else denoise(image, model, options.noise_level)


def unenhanced(image: Image) -> Enhanced:
    """An image that no network is run on."""
    return Enhanced(before=image, after=image, model=None, noise_level=None)


def noise_estimate(image: Image) -> float:
    """Robust standard deviation of the noise: median absolute diagonal Haar detail / 0.6745.

    Source: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994). For white
    noise it is the standard deviation; the noise of filtered back-projection is correlated, so read it as a
    comparison between two images of one slice. Zero for images of less than 2x2 pixels.
    """
    rows, columns = (side - side % 2 for side in image.shape)
    if not rows or not columns:
        return 0.0
    even = image[:rows, :columns]
    detail = (even[::2, ::2] - even[::2, 1::2] - even[1::2, ::2] + even[1::2, 1::2]) / 2
    return float(np.median(np.abs(detail)) / 0.6745)


def warm_up(*, threads: int | None = None) -> None:
    """Plan the back-projection of LoDoPaB-CT's geometry, so that no caller waits; see `loop_cache` for the loops."""
    filtered_back_projection(np.zeros(LODOPAB.sinogram_shape, dtype=np.float32), threads=threads)
