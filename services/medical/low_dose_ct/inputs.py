"""Posted files become slices in Hounsfield units and sinograms of normalised attenuation, or a problem."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.images.attenuation import MU_MAX, attenuation_to_hu, hu_to_attenuation
from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam
from services.medical.low_dose_ct.schemas import SinogramUnit, Unit
from shared.imaging.arrays import decode_npy, require_finite
from shared.imaging.dicom import AIR_HU, CtSlice, read_ct
from shared.imaging.pictures import Picture, decode_picture
from shared.imaging.signatures import MediaType, require_type
from shared.imaging.windows import Window
from shared.problems import FieldError, UnprocessableContent, field_problem

Image = NDArray[np.float32]

_SMALLEST_SIDE = 8
_HU_LIMIT = 1e5
_ATTENUATION = (-0.5, 2.0)
"""Attenuation in 1/cm, and normalised attenuation, lies in here; a slice in HU does not: its noise alone is more."""
_NARROW_SPAN_HU = 100.0
_SATURATED_SHARE = 0.01
_NORMALISED_LINE_INTEGRAL_LIMIT = 0.5
"""No object absorbs this much: 0.5 * 81.36 = 41 mean free paths. Larger values are line integrals in another unit."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A CT slice as it was posted.

    Attributes:
        hu: float32 (rows, columns).
        media_type: what it was posted as, which is also what a series of such is answered as.
        source: the DICOM object, where it came as one.
        padding_pixels: pixels outside the scanner's field of view that were set to -1024 HU.
        caveats: what makes the values doubtful.
    """

    hu: Image
    media_type: MediaType
    source: CtSlice | None = None
    padding_pixels: int = 0
    caveats: tuple[str, ...] = ()

    @property
    def attenuation(self) -> Image:
        """Normalised attenuation, the range that the network works in."""
        return hu_to_attenuation(self.hu, clip=False)


def read_slice(data: bytes, *, unit: Unit, window: Window, pixel_limit: int, pointer: str = "/body/file") -> Slice:
    """Read a CT slice from DICOM, NPY or PNG.

    Args:
        data: the file.
        unit: what NPY values mean.
        window: what a PNG was drawn with: black and white are its two ends.
        pixel_limit: most pixels, checked before decoding.
        pointer: where the file stands in the request, for problems.

    Raises:
        UnsupportedMediaType: another kind of file, or a transfer syntax that cannot be decoded.
        UnprocessableContent: truncated, not finite, not two-dimensional, no CT.
        ContentTooLarge: more pixels than allowed.
    """
    kind = require_type(data, (MediaType.DICOM, MediaType.NPY, MediaType.PNG), pointer=pointer)
    if kind is MediaType.DICOM:
        ct = read_ct(data, limit_pixels=pixel_limit, pointer=pointer)
        read = Slice(ct.hu, kind, ct, int(ct.padding.sum()) + ct.clamped)
    elif kind is MediaType.NPY:
        read = Slice(_hu_array(data, unit, pixel_limit, pointer), kind)
    else:
        picture = decode_picture(data, limit_pixels=pixel_limit, accepted=(MediaType.PNG,), pointer=pointer)
        _require_grey(picture, pointer)
        read = Slice(_through_window(picture.scaled(), window), kind, caveats=_saturation(picture, window))
    if min(read.hu.shape) < _SMALLEST_SIDE:
        raise field_problem(
            pointer, f"The slice is {read.hu.shape}; both sides must be at least {_SMALLEST_SIDE} pixels."
        )
    _require_ct_values(read.hu, kind, pointer)
    return read if kind is MediaType.DICOM else _with_air(read)


def _with_air(read: Slice) -> Slice:
    """Set what the scanner did not see to -1024 HU, as it is in a slice that was read from DICOM."""
    outside = read.hu < AIR_HU
    caveats = read.caveats
    span = float(np.ptp(read.hu))
    if 0 < span < _NARROW_SPAN_HU:
        caveats += (f"All values lie within {span:.3g} HU: does `unit` say what they mean?",)
    hu = np.where(outside, np.float32(AIR_HU), read.hu)
    return replace(read, hu=hu, padding_pixels=int(outside.sum()), caveats=caveats)


def _require_grey(picture: Picture, pointer: str) -> None:
    if picture.pixels.ndim != 2:
        raise field_problem(pointer, "A CT slice is grey, and this PNG has colours. Post a grey PNG, NPY or DICOM.")
    if picture.transparent:
        raise field_problem(pointer, "This PNG has transparent pixels, which have no value in HU. Post it without.")


def _saturation(picture: Picture, window: Window) -> tuple[str, ...]:
    """A window cuts off what lies beyond its ends; below the lower one of most windows that is air."""
    share = float((picture.pixels == picture.maximum).mean())
    if share < _SATURATED_SHARE:
        return ()
    top = window.center - 0.5 + (window.width - 1) / 2
    return (f"{share:.0%} of the pixels are white: what lies above {top:.0f} HU is lost. Post NPY or DICOM.",)


def _through_window(grey: Image, window: Window) -> Image:
    """Hounsfield units of a picture, grey 0 to 1: the inverse of `shared.imaging.windows.apply_window`."""
    return ((window.center - 0.5) + (grey.astype(np.float64) - 0.5) * (window.width - 1)).astype(np.float32)


def _require_ct_values(hu: Image, kind: MediaType, pointer: str) -> None:
    """Beyond this limit the network's arithmetic overflows, and no scanner goes near it."""
    extreme = float(np.abs(hu).max())
    if extreme > _HU_LIMIT:
        hint = "Does `unit` say what they mean?" if kind is MediaType.NPY else "Is the rescale of the file right?"
        raise field_problem(pointer, f"Values reach {extreme:.3g} HU, which no CT holds. {hint}")


def _finite_plane(data: bytes, pixel_limit: int, pointer: str) -> Image:
    """A two-dimensional array without NaN; what float32 cannot hold becomes infinite and fails the limits after."""
    array = decode_npy(data, limit_elements=pixel_limit, dimensions=(2,), pointer=pointer)
    require_finite(array, pointer=pointer)
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _hu_array(data: bytes, unit: Unit, pixel_limit: int, pointer: str) -> Image:
    array = _finite_plane(data, pixel_limit, pointer)
    if unit == "hu":
        _require_no_attenuation(array, pointer)
        return array
    with np.errstate(over="ignore"):
        return attenuation_to_hu(array)


def _require_no_attenuation(array: Image, pointer: str) -> None:
    lowest, highest = float(array.min()), float(array.max())
    if _ATTENUATION[0] <= lowest < highest <= _ATTENUATION[1]:
        raise field_problem(
            pointer,
            f"Values from {lowest:.3g} to {highest:.3g} are attenuation, not Hounsfield units. Set `unit` to "
            f"normalised (attenuation divided by {MU_MAX:.5f}/m), or convert them.",
        )


def read_sinogram(
    data: bytes, geometry: ParallelBeam, *, unit: SinogramUnit, pixel_limit: int, pointer: str = "/body/file"
) -> Image:
    """Read a sinogram, as line integrals of normalised attenuation times metres, float32 (angles, detectors).

    Raises:
        UnsupportedMediaType: not an NPY file.
        UnprocessableContent: truncated, not finite, not two-dimensional, or not of the stated geometry or unit.
        ContentTooLarge: more elements than allowed.
    """
    require_type(data, (MediaType.NPY,), pointer=pointer)
    sinogram = _finite_plane(data, pixel_limit, pointer)
    _require_shape(sinogram, geometry, pointer)
    if unit == "line-integral":
        sinogram = sinogram / np.float32(MU_MAX)
    extreme = float(np.abs(sinogram).max())
    if extreme > _NORMALISED_LINE_INTEGRAL_LIMIT:
        raise _beyond_every_object(extreme, unit)
    return sinogram


def _beyond_every_object(extreme: float, unit: SinogramUnit) -> UnprocessableContent:
    pointer = "/body/sinogram_unit"
    if unit == "line-integral":
        limit = _NORMALISED_LINE_INTEGRAL_LIMIT * MU_MAX
        detail = f"The sinogram reaches {extreme * MU_MAX:.3g}; -ln(I/I0) of a detector that still counts is below "
        return UnprocessableContent(f"{detail}{limit:.0f}.", errors=[FieldError(pointer=pointer, detail="Too large.")])
    return UnprocessableContent(
        f"The sinogram reaches {extreme:.3g}, far beyond what normalised line integrals can be (about 0.13).",
        errors=[FieldError(pointer=pointer, detail="Send `line-integral` if the values are -ln(I/I0).")],
    )


def _require_shape(sinogram: Image, geometry: ParallelBeam, pointer: str) -> None:
    angles, detectors = sinogram.shape
    if (angles, detectors) == geometry.sinogram_shape:
        return
    turned = (
        " It is the transpose of that: post it with angles as rows."
        if ((detectors, angles) == geometry.sinogram_shape)
        else " Set `angles`, `detectors` and `detector_width_m` to those of the scan."
    )
    raise field_problem(
        pointer,
        f"The sinogram has {angles} rows and {detectors} columns; the stated geometry has {geometry.angles} angles "
        f"and {geometry.detectors} detectors.{turned}",
    )


def read_reference(data: bytes, *, unit: Unit, shape: tuple[int, int], window: Window, pixel_limit: int) -> Image:
    """Read the normal-dose image that an answer is compared with, as normalised attenuation of the given shape."""
    pointer = "/body/reference"
    reference = read_slice(data, unit=unit, window=window, pixel_limit=pixel_limit, pointer=pointer)
    if reference.hu.shape != shape:
        raise field_problem(pointer, f"The reference is {reference.hu.shape}; the answer is {shape}.")
    if float(np.ptp(reference.hu)) <= 0:
        raise field_problem(pointer, "The reference is constant, so PSNR and SSIM are not defined.")
    return reference.attenuation
