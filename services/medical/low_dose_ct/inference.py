"""From sinogram or noisy slice to enhanced slice: filtered back-projection, then one pass of the network.

Source: Selig, März, Storath, Weinmann, "Low-Dose CT Image Reconstruction by Fine-Tuning a UNet Pretrained for Gaussian
Denoising for the Downstream Task of Image Enhancement" (arXiv 2403.03551). Images are normalised attenuation throughout
(`images/attenuation.py`), never windowed or clipped on their way into the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.denoising.blending import Blend, DenoiserParameters, blend_of, mix
from services.medical.low_dose_ct.denoising.tiling import Tile, tiles
from services.medical.low_dose_ct.reconstruction.fbp import filtered_back_projection
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB
from services.medical.low_dose_ct.schemas import ReconstructionOptions
from shared.runtime.batching.items import Answer, Arrays
from shared.runtime.cards import ModelReference, UploadedCard, reference_of
from shared.runtime.models.sessions import OnnxModel
from shared.telemetry.timing import timed

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Enhanced:
    """An image before and after the network, normalised attenuation, float32 (rows, columns).

    Attributes:
        before: what the network was, or would have been, given.
        after: what is answered.
        model: the network that it went through, or that decided to leave it as it is; None where none was asked for.
        noise_level: what the network was fed, normalised attenuation; None where it was not run.
        blend: how much of the network's answer it is.
    """

    before: Image
    after: Image
    model: ModelReference | None
    noise_level: float | None
    blend: Blend | None = None


@dataclass(frozen=True, slots=True)
class Denoising:
    """One image on its way through a denoiser, part by part, as large ones do not fit into one run.

    Attributes:
        image: normalised attenuation, (rows, columns).
        blend: how much of the denoiser's answer it gets.
        parts: what is run on one after another; none where the image stays as it is.
        card: of the denoiser.
    """

    image: Image
    blend: Blend
    parts: Sequence[Tile]
    card: UploadedCard

    @classmethod
    def plan(cls, image: Image, card: UploadedCard, noise_level: float | None = None) -> Denoising:
        """Decide what an image gets of a denoiser; see `blend_of`."""
        parameters = DenoiserParameters.of(card)
        blend, (rows, columns) = blend_of(image, parameters, noise_level), image.shape
        field, grid = parameters.receptive_field, parameters.grid
        parts = tiles((rows, columns), receptive_field=field, grid=grid) if blend.share > 0 else []
        return cls(image, blend, parts, card)

    def inputs(self, part: Tile) -> Arrays:
        """What the denoiser is run on: a part of the image, (1, 1, rows, columns), and its noise level, (1,)."""
        seen = np.ascontiguousarray(self.image[part.seen])
        return {"image": seen[None, None], "noise_level": np.array([self.blend.level], dtype=np.float32)}

    def finish(self, clean: Image | None) -> Enhanced:
        """The image beside what it has become.

        Args:
            clean: what the denoiser answered to all parts; None where there are none.
        """
        after = mix(self.image, clean, self.blend.share)
        level = self.blend.level if self.parts else None
        return Enhanced(self.image, after, reference_of(self.card), level, self.blend)


def put_part(clean: Image | None, plan: Denoising, part: Tile, outputs: Answer) -> Image:
    """Add the denoiser's answer to a part to those before it, and return them.

    Args:
        clean: the answers so far, changed in place; None before the first.
        plan: of the image.
        part: which.
        outputs: of the denoiser, to `plan.inputs(part)`.
    """
    answered: Image = outputs[0][0, 0]
    if len(plan.parts) == 1:
        return answered
    whole = np.empty_like(plan.image) if clean is None else clean
    whole[part.kept] = answered[part.inner]
    return whole


def run_parts(plan: Denoising, model: OnnxModel, *, pause: Callable[[], None] = lambda: None) -> Enhanced:
    """Run the denoiser on all parts, in this thread.

    Args:
        plan: what to do.
        model: the denoiser.
        pause: called before each run; may raise to stop.
    """
    clean: Image | None = None
    for part in plan.parts:
        pause()
        clean = put_part(clean, plan, part, model.run(plan.inputs(part)))
    return plan.finish(clean)


def denoise(image: Image, model: OnnxModel, noise_level: float | None = None) -> Enhanced:
    """Run the network on one slice, in this thread.

    Args:
        image: normalised attenuation, (rows, columns), any size.
        model: a released denoiser.
        noise_level: standard deviation of the noise in normalised attenuation; see `blend_of`.
    """
    return run_parts(Denoising.plan(image, model.card, noise_level), model)


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
