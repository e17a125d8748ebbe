"""Posted files become Hounsfield units and line integrals; what cannot be is refused with its place and its fault."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import cast

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.medical.low_dose_ct.images.attenuation import MU_MAX, attenuation_to_hu, hu_to_attenuation
from services.medical.low_dose_ct.inputs import Slice, read_reference, read_sinogram, read_slice
from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam
from services.medical.low_dose_ct.schemas import Unit
from shared.imaging.dicom_writing import new_ct
from shared.imaging.pictures import encode_png
from shared.imaging.signatures import MediaType
from shared.imaging.windows import Window, parse_window, render_png
from shared.problems import Problem
from tests.support.capability import npy
from tests.unit.services.medical.low_dose_ct.conftest import SMALL_SCAN, sinogram, slice_hu

LUNG = parse_window("lung")


def read(data: bytes, *, unit: Unit = "hu", window: Window = LUNG, pixel_limit: int = 100_000) -> Slice:
    return read_slice(data, unit=unit, window=window, pixel_limit=pixel_limit)


def problem_of(function: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as caught:
        function()
    return caught.value


def test_npy_in_hounsfield_units() -> None:
    posted = read(npy(slice_hu()))
    np.testing.assert_array_equal(posted.hu, slice_hu())
    assert (posted.media_type, posted.source, posted.padding_pixels) == (MediaType.NPY, None, 0)


def test_npy_in_normalised_attenuation() -> None:
    x = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    posted = read(npy(x), unit="normalised")
    # Vacuum is -1001 HU and 1 is 3071 HU by the constants of LoDoPaB-CT.
    assert posted.hu[0, 0] == pytest.approx(-1001.001, abs=1e-3)
    assert posted.hu[-1, -1] == pytest.approx(3071, abs=1e-3)
    np.testing.assert_allclose(posted.attenuation, x, atol=1e-6)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f8", ">f4", "<f2", "i4"])
def test_npy_of_any_number_type(dtype: str) -> None:
    hu = np.rint(slice_hu()).astype(dtype)
    np.testing.assert_array_equal(read(npy(hu)).hu, hu.astype(np.float32))


def test_dicom() -> None:
    data = new_ct(slice_hu(), spacing_mm=(0.7, 0.7), series_description="-", derivation="-")
    posted = read(data)
    np.testing.assert_allclose(posted.hu, slice_hu(), atol=0.5)
    assert posted.media_type is MediaType.DICOM
    assert posted.source is not None


@pytest.mark.parametrize("name", ["lung", "40,400", "bone", "0,2"])
def test_png_is_read_back_through_the_window_it_was_drawn_with(name: str) -> None:
    window = parse_window(name)
    step = (window.width - 1) / 255
    lowest = window.center - 0.5 - (window.width - 1) / 2  # DICOM PS3.3 C.11.2.1.2.1
    hu = (lowest + step * np.arange(256)).reshape(16, 16)
    posted = read(render_png(hu, window), window=window)
    np.testing.assert_allclose(posted.hu, np.maximum(hu, -1024), atol=1e-3)
    assert posted.padding_pixels == (hu < -1024).sum()


def test_sixteen_bit_png_keeps_its_steps() -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    hu = read(encode_png(grey), window=Window(1000, 4000)).hu
    assert np.all(np.diff(hu.ravel()) > 0)


@pytest.mark.parametrize("outside", [-3024, -2000, -1025])
def test_the_same_slice_with_padding_is_the_same_from_every_format(outside: int) -> None:
    """What scanners write outside of their field of view is air, whichever way a slice comes."""
    hu = np.rint(slice_hu())
    hu[:7] = outside
    right = np.maximum(hu, -1024)
    source = pydicom.dcmread(io.BytesIO(new_ct(hu, spacing_mm=(1, 1), series_description="-", derivation="-")))
    source.RescaleIntercept, source.PixelRepresentation = 0, 1
    source.PixelData = hu.astype("<i2").tobytes()
    stream = io.BytesIO()
    source.save_as(stream)
    full = Window(0.5, 6554.6)  # a step of 16 bits is 0.1 HU
    grey = np.rint(((hu - 0) / (full.width - 1) + 0.5) * 65535).astype(np.uint16)
    normalised = hu_to_attenuation(hu, clip=False)
    for data, unit, tolerance in (
        (stream.getvalue(), "hu", 0.0),
        (npy(hu), "hu", 0.0),
        (npy(normalised.astype(np.float64)), "normalised", 1e-3),
        (encode_png(grey), "hu", 0.051),
    ):
        posted = read(data, unit=cast("Unit", unit), window=full)
        np.testing.assert_allclose(posted.hu, right, atol=tolerance)
        assert posted.padding_pixels == (hu < -1024).sum()


@pytest.mark.parametrize("scale", [1.0, 0.2, 0.4])
def test_attenuation_is_not_taken_for_hounsfield_units(scale: float) -> None:
    problem = problem_of(lambda: read(npy(hu_to_attenuation(slice_hu()) * np.float32(scale))))
    assert (problem.status, "Set `unit` to normalised" in problem.detail) == (422, True)


def test_a_slice_of_one_value_is_a_slice() -> None:
    assert (read(npy(np.zeros((16, 16)))).hu == 0).all()


def test_values_of_a_narrow_span_are_doubted() -> None:
    assert "does `unit` say" in read(npy(slice_hu() / 40 + 25)).caveats[0]


def test_white_of_a_png_is_said_to_be_cut_off() -> None:
    assert "above 149 HU is lost" in read(render_png(slice_hu(), LUNG)).caveats[0]


def test_transparent_pixels_have_no_value() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.dstack([np.full((16, 16), 90, np.uint8), np.tri(16, dtype=np.uint8) * 255]), "LA").save(
        stream, "PNG"
    )
    assert "transparent" in problem_of(lambda: read(stream.getvalue())).detail


def test_slice_below_the_smallest_side() -> None:
    assert "at least 8" in problem_of(lambda: read(npy(np.zeros((7, 60))))).detail


@pytest.mark.parametrize(
    "values",
    [np.full((9, 9), 1e6), np.full((9, 9), 1e39), np.full((9, 9), -1e300)],
    ids=["1e6", "beyond float32", "-1e300"],
)
@pytest.mark.parametrize("unit", ["hu", "normalised"])
def test_values_that_no_ct_holds(values: NDArray[np.float64], unit: Unit) -> None:
    problem = problem_of(lambda: read(npy(values), unit=unit))
    assert problem.status == 422
    assert "no CT holds" in problem.detail


def test_dicom_whose_rescale_leads_beyond_what_ct_holds() -> None:
    from io import BytesIO

    from pydicom import dcmread

    dataset = dcmread(BytesIO(new_ct(slice_hu(), spacing_mm=(1, 1), series_description="-", derivation="-")))
    dataset.RescaleSlope = "1e20"
    changed = BytesIO()
    dataset.save_as(changed)
    assert "no CT holds" in problem_of(lambda: read(changed.getvalue())).detail


def read_scan(data: bytes, geometry: ParallelBeam = SMALL_SCAN, **options: str) -> NDArray[np.float32]:
    unit = options.get("unit", "normalised")
    return read_sinogram(data, geometry, unit=unit, pixel_limit=100_000)  # type: ignore[arg-type]


def test_sinogram_in_both_units() -> None:
    np.testing.assert_array_equal(read_scan(npy(sinogram())), sinogram())
    physical = sinogram().astype(np.float64) * MU_MAX
    np.testing.assert_allclose(read_scan(npy(physical), unit="line-integral"), sinogram(), rtol=1e-6)


def test_noise_below_zero_is_part_of_a_sinogram() -> None:
    assert read_scan(npy(sinogram() - 0.01)).min() < 0


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (sinogram().T, "transpose"),
        (sinogram()[:-1], "59 rows"),
        (sinogram() * MU_MAX, "normalised line integrals"),
        (sinogram() - 3, "normalised line integrals"),
        (np.where(np.eye(60, 71), np.nan, sinogram()), "NaN"),
        (np.where(np.eye(60, 71), -np.inf, sinogram()), "infinite"),
    ],
    ids=["transposed", "one angle short", "line integrals", "far below zero", "NaN", "infinite"],
)
def test_sinogram_that_does_not_fit(array: NDArray[np.float32], word: str) -> None:
    problem = problem_of(lambda: read_scan(npy(array)))
    assert problem.status == 422
    assert word in problem.detail


def test_line_integrals_beyond_every_object() -> None:
    problem = problem_of(lambda: read_scan(npy(np.full((60, 71), 1e30)), unit="line-integral"))
    assert "1e+30" in problem.detail


def reference(data: bytes, unit: Unit = "hu") -> NDArray[np.float32]:
    return read_reference(data, unit=unit, shape=slice_hu().shape, window=LUNG, pixel_limit=100_000)


def test_reference_is_normalised_attenuation() -> None:
    np.testing.assert_allclose(attenuation_to_hu(reference(npy(slice_hu()))), slice_hu(), atol=0.01)


@pytest.mark.parametrize(
    ("array", "word"),
    [(slice_hu()[1:], "(47, 48)"), (np.zeros_like(slice_hu()), "constant")],
    ids=["shape", "constant"],
)
def test_reference_that_cannot_be_compared_with(array: NDArray[np.float32], word: str) -> None:
    problem = problem_of(lambda: reference(npy(array)))
    assert word in problem.detail
    assert problem.errors[0].pointer == "/body/reference"
