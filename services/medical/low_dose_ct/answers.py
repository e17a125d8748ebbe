"""Results become what the caller asked for: a description in JSON, a windowed PNG, a raw array or a DICOM object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu
from services.medical.low_dose_ct.images.metrics import mean_hu_bias, psnr, ssim
from services.medical.low_dose_ct.inference import Enhanced, Image, noise_estimate
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB, ParallelBeam
from services.medical.low_dose_ct.schemas import (
    Comparison,
    EnhancementAnswer,
    FilteringUsed,
    GeometryUsed,
    ReconstructionAnswer,
    ReconstructionOptions,
    ReferenceComparison,
    Statistics,
    Unit,
)
from shared.http.negotiation import DICOM, NPY, PNG
from shared.imaging.arrays import encode_npy
from shared.imaging.dicom import CtSlice
from shared.imaging.dicom_writing import SlicePlace, derive_ct, new_ct
from shared.imaging.windows import Window, render_png

_TUNED_FOR = (
    "The network was tuned on simulated LoDoPaB-like scans (4096 photons, 0.718 mm pixels, chest); elsewhere its "
    "gain is not measured."
)
_UNTUNED = "This network was trained on photographs only; on CT it is the untuned baseline."
_CHECK_BIAS = "Denoising can remove or invent fine structure: compare with `before`."


_NOTHING_BUT_AIR_HU = -900.0
_ASSUMED_DISTANCE_MM = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a DICOM answer belongs in the series that a job makes.

    Attributes:
        series_uid: the new series, the same for all its slices.
        study_uid: the study of slices that come without one; a series belongs to one study only.
        frame_uid: the frame of reference of slices that come without one.
        number: place in the series, from 1.
        distance_mm: from slice to slice of those without a position; None where the caller does not say.
    """

    series_uid: str
    study_uid: str
    frame_uid: str
    number: int
    distance_mm: float | None = None

    @property
    def slice_place(self) -> SlicePlace:
        """The same for a slice without a DICOM source."""
        distance = self.distance_mm or _ASSUMED_DISTANCE_MM
        return SlicePlace(
            self.series_uid,
            self.study_uid,
            self.frame_uid,
            self.number,
            position_mm=(self.number - 1) * distance,
            distance_mm=distance,
            assumed=self.distance_mm is None,
        )


def describe_geometry(geometry: ParallelBeam) -> GeometryUsed:
    """The geometry as answers state it."""
    return GeometryUsed(
        angles=geometry.angles,
        detectors=geometry.detectors,
        detector_width_m=geometry.detector_width,
        detector_pitch_m=geometry.detector_pitch,
        image_shape=geometry.image_shape,
        image_width_m=geometry.image_width,
        pixel_size_m=geometry.pixel_size,
    )


def statistics(image: Image) -> Statistics:
    """Values of a normalised attenuation image in Hounsfield units."""
    hu = attenuation_to_hu(image)
    return Statistics(
        minimum_hu=float(hu.min()),
        maximum_hu=float(hu.max()),
        mean_hu=float(hu.mean(dtype=np.float64)),
        noise_hu=noise_estimate(hu),
    )


def compare(image: Image, reference: Image) -> Comparison:
    """Agreement of an image with its reference, both normalised attenuation."""
    return Comparison(
        psnr_db=_finite(psnr(image, reference)),
        ssim=ssim(image, reference),
        psnr_full_range_db=_finite(psnr(image, reference, data_range=1.0)),
        ssim_full_range=ssim(image, reference, data_range=1.0),
        mean_bias_hu=mean_hu_bias(image, reference),
    )


def _finite(decibels: float) -> float | None:
    """JSON has no infinity, which is what PSNR is for equal images."""
    return decibels if math.isfinite(decibels) else None


def _compare_both(result: Enhanced, reference: Image | None) -> ReferenceComparison | None:
    if reference is None:
        return None
    return ReferenceComparison(before=compare(result.before, reference), after=compare(result.after, reference))


def warnings(result: Enhanced) -> list[str]:
    """What whoever sees the image must know, in any format: that it has less noise than the network was tuned for."""
    blend = result.blend
    if blend is None or blend.share == 1 or blend.noise_hu is None:
        return []
    found = f"The noise of this image ({blend.noise_hu:.0f} HU) is below what the network was tuned for"
    if blend.share == 0:
        return [f"{found}: the image is answered as it is."]
    return [f"{found} ({blend.full_from_hu:.0f} HU): the answer is {blend.share:.0%} network and the rest input."]


def _caveats(result: Enhanced, geometry: ParallelBeam | None) -> list[str]:
    if result.model is None:
        return []
    if result.model.name != "low-dose-ct":
        return [_UNTUNED, _CHECK_BIAS]
    general = [_CHECK_BIAS] if geometry == LODOPAB else [_TUNED_FOR, _CHECK_BIAS]
    return [*warnings(result), *general]


def _air_alone(result: Enhanced, options: ReconstructionOptions) -> list[str]:
    """Line integrals that are too small by the factor between the two units reconstruct to nothing but air."""
    if options.sinogram_unit == "normalised" or float(attenuation_to_hu(result.before).max()) > _NOTHING_BUT_AIR_HU:
        return []
    return ["The image is nothing but air: a sinogram that is normalised needs `sinogram_unit` normalised."]


def _description(result: Enhanced, reference: Image | None) -> dict[str, Any]:
    """What the answers of reconstruction and enhancement have in common."""
    return {
        "shape": shape_of(result.after),
        "before": statistics(result.before),
        "after": statistics(result.after),
        "mean_change_hu": mean_hu_bias(result.after, result.before),
        "comparison": _compare_both(result, reference),
        "model": result.model,
        "noise_level": result.noise_level,
        "image_noise_hu": None if result.blend is None else result.blend.noise_hu,
        "network_share": 0.0 if result.model is None else 1.0 if result.blend is None else result.blend.share,
    }


def describe_reconstruction(
    result: Enhanced, options: ReconstructionOptions, reference: Image | None
) -> ReconstructionAnswer:
    """The JSON answer of a reconstruction."""
    return ReconstructionAnswer(
        **_description(result, reference),
        caveats=[*_air_alone(result, options), *_caveats(result, options.geometry)],
        geometry=describe_geometry(options.geometry),
        filtering=FilteringUsed(filter=options.filter, frequency_scaling=options.frequency_scaling, ramp=options.ramp),
    )


def describe_enhancement(
    result: Enhanced, padding_pixels: int, reference: Image | None, *, doubts: Sequence[str] = ()
) -> EnhancementAnswer:
    """The JSON answer of an enhancement; `doubts` are of the posted values."""
    return EnhancementAnswer(
        **_description(result, reference),
        caveats=[*doubts, *_caveats(result, None)],
        padding_pixels=padding_pixels,
    )


def shape_of(image: Image) -> tuple[int, int]:
    """Rows and columns of an image."""
    rows, columns = image.shape
    return rows, columns


def _derivation(result: Enhanced) -> str:
    if result.model is None:
        return "Filtered back-projection"
    model, blend = result.model, result.blend
    name = f"{model.name} {model.version} (weights sha256 {model.weights_sha256[:16]})"
    if blend is None or blend.share == 1:
        return f"Denoised by {name}"
    if blend.share == 0:
        return f"Left as it is by {name}: its noise is {blend.noise_hu:.0f} HU"
    return f"Denoised by {name}, {blend.share:.0%}, and the input, {1 - blend.share:.0%}"


def _is_smoothed(result: Enhanced) -> bool:
    return result.model is not None and (result.blend is None or result.blend.share > 0)


def encode(
    result: Enhanced,
    media_type: str,
    *,
    unit: Unit,
    window: Window,
    source: CtSlice | None = None,
    pixel_size_mm: float | None = None,
    place: Place | None = None,
) -> bytes:
    """The enhanced image as a file.

    Args:
        result: what was computed.
        media_type: image/png (8 bit, windowed), application/x-npy (float32 in `unit`) or application/dicom.
        unit: unit of NPY values.
        window: HU window of the PNG.
        source: object that a DICOM answer is derived from; without one a new object is made.
        pixel_size_mm: pixel size of a new DICOM object; 1 mm where nobody knows.
        place: series that a DICOM answer joins, a new one by default.
    """
    hu = attenuation_to_hu(result.after)
    if media_type == PNG:
        return render_png(hu, window)
    if media_type == NPY:
        return encode_npy(hu if unit == "hu" else result.after)
    if media_type != DICOM:
        raise ValueError(f"cannot encode {media_type}")
    description = "Facet low-dose CT"
    derivation, comment, smoothed = _derivation(result), " ".join(warnings(result)), _is_smoothed(result)
    if source is not None:
        return derive_ct(
            source,
            hu,
            series_description=description,
            derivation=derivation,
            series_uid=None if place is None else place.series_uid,
            comment=comment,
            smoothed=smoothed,
        )
    size = pixel_size_mm or 1.0
    return new_ct(
        hu,
        spacing_mm=(size, size),
        series_description=description,
        derivation=derivation,
        place=None if place is None else place.slice_place,
        comment=comment,
        smoothed=smoothed,
    )
