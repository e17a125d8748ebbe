"""CT slices from DICOM: values, transfer syntaxes, refusals, and silence about the patient."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels.decoders.base import Decoder
from pydicom.pixels.encoders.base import JPEG2000LosslessEncoder, RLELosslessEncoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from shared.imaging import dicom_parsing
from shared.imaging.dicom import read_ct
from shared.imaging.signatures import sniff
from shared.problems import Problem
from tests.unit.shared.imaging.conftest import PATIENT, BuildCt
from tests.unit.shared.imaging.jpeg_lossless import encode_jpeg_lossless

ProblemOf = Callable[[Callable[[], object]], Problem]
Stored = NDArray[np.uint16]
LIMIT = 100_000


def encoder_options(stored: NDArray[Any]) -> dict[str, Any]:
    return {
        "rows": stored.shape[0],
        "columns": stored.shape[1],
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "bits_allocated": 16,
        "bits_stored": 16,
        "pixel_representation": int(stored.dtype.kind == "i"),
        "photometric_interpretation": "MONOCHROME2",
    }


def rle(stored: NDArray[Any]) -> bytes:
    return RLELosslessEncoder.encode(stored, encoding_plugin="pydicom", **encoder_options(stored))


def jpeg2000(stored: NDArray[Any]) -> bytes:
    return JPEG2000LosslessEncoder.encode(stored, encoding_plugin="pylibjpeg", **encoder_options(stored))


def test_values_are_hounsfield_units(build_ct: BuildCt, stored_slice: Stored) -> None:
    ct = read_ct(build_ct(RescaleSlope=2, RescaleIntercept=-1000), limit_pixels=LIMIT)
    np.testing.assert_array_equal(ct.hu, stored_slice * 2.0 - 1000)
    assert ct.hu.dtype == np.float32
    assert (ct.slope, ct.intercept, ct.clamped, ct.padding.sum()) == (2, -1000, 0, 0)
    assert (ct.spacing_mm, ct.position_mm) == ((0.75, 0.5), 33.5)
    assert "PixelData" not in ct.dataset


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_syntaxes(syntax: str, build_ct: BuildCt, stored_slice: Stored) -> None:
    ct = read_ct(build_ct(syntax=syntax), limit_pixels=LIMIT)
    np.testing.assert_array_equal(ct.hu, stored_slice - 1024.0)
    assert ct.transfer_syntax == syntax


def test_big_endian(build_ct: BuildCt, stored_slice: Stored) -> None:
    data = build_ct(stored_slice.astype(">u2"), syntax=ExplicitVRBigEndian)
    np.testing.assert_array_equal(read_ct(data, limit_pixels=LIMIT).hu, stored_slice - 1024.0)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        pytest.param(RLELossless, rle, id="RLE"),
        pytest.param(JPEG2000Lossless, jpeg2000, id="JPEG 2000"),
        pytest.param(JPEGLosslessSV1, encode_jpeg_lossless, id="JPEG lossless"),
    ],
)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_lossless_syntaxes(
    syntax: str, encode: Callable[[NDArray[Any]], bytes], signed: bool, build_ct: BuildCt, stored_slice: Stored
) -> None:
    stored = stored_slice.astype(np.int16) - 1000 if signed else stored_slice
    intercept = 0 if signed else -1024
    data = build_ct(stored, syntax=syntax, codestream=encode(stored), RescaleIntercept=intercept)
    np.testing.assert_array_equal(read_ct(data, limit_pixels=LIMIT).hu, stored.astype(float) + intercept)


def test_jpeg_ls(build_ct: BuildCt) -> None:
    """Against the uncompressed twin of a file that comes with pydicom."""
    compressed = pydicom.dcmread(str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False)))
    plain = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False))).pixel_array
    codestream = pydicom.encaps.get_frame(compressed.PixelData, 0, number_of_frames=1)
    data = build_ct(plain, syntax=JPEGLSLossless, codestream=codestream, RescaleIntercept=0)
    np.testing.assert_array_equal(read_ct(data, limit_pixels=LIMIT).hu, plain)


def test_jpeg_baseline(build_ct: BuildCt) -> None:
    grey = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1))
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=100)
    ct = read_ct(build_ct(grey, syntax=JPEGBaseline8Bit, codestream=stream.getvalue()), limit_pixels=LIMIT)
    np.testing.assert_allclose(ct.hu, grey - 1024.0, atol=3)


def test_signed_values(build_ct: BuildCt, stored_slice: Stored) -> None:
    stored = stored_slice.astype(np.int16) - 1000
    ct = read_ct(build_ct(stored, RescaleIntercept=0), limit_pixels=LIMIT)
    np.testing.assert_array_equal(ct.hu, stored)


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_those_stored_do_not_count(signed: bool, build_ct: BuildCt) -> None:
    stored = np.array([[0, 1, 2047], [2048, 4095, 100]], dtype=np.uint16)
    dirty = stored | 0xA000
    ct = read_ct(
        build_ct(dirty, BitsStored=12, HighBit=11, RescaleIntercept=0, PixelRepresentation=int(signed)),
        limit_pixels=LIMIT,
    )
    plain = stored.astype(int)
    expected = np.where(plain > 2047, plain - 4096, plain) if signed else plain
    np.testing.assert_array_equal(ct.hu, np.maximum(expected, -1024))


def test_padding_becomes_air(build_ct: BuildCt, stored_slice: Stored) -> None:
    stored = stored_slice.astype(np.int16) - 1000
    stored[:2] = -2000
    stored[2, :5] = -1500
    data = build_ct(stored, RescaleIntercept=0, PixelPaddingValue=-2000)
    ct = read_ct(data, limit_pixels=LIMIT)
    assert ct.padding.sum() == 96
    assert ct.padding[:2].all()
    assert (ct.clamped, ct.padding_value, ct.hu.min()) == (5, -2000, -1024)


@pytest.mark.parametrize("limit", [-1990, -2010])
def test_a_range_of_padding(limit: int, build_ct: BuildCt) -> None:
    stored = np.array([[-2011, -2010, -2000], [-1990, -1989, 5]], dtype=np.int16)
    data = build_ct(stored, RescaleIntercept=0, PixelPaddingValue=-2000, PixelPaddingRangeLimit=limit)
    ct = read_ct(data, limit_pixels=LIMIT)
    assert ct.padding.sum() == 2
    assert ct.clamped == 3


def test_padding_in_implicit_files_is_signed(build_ct: BuildCt) -> None:
    stored = np.array([[-2000, 5], [6, 7]], dtype=np.int16)
    data = build_ct(stored, syntax=ImplicitVRLittleEndian, RescaleIntercept=0, PixelPaddingValue=-2000)
    assert read_ct(data, limit_pixels=LIMIT).padding.tolist() == [[True, False], [False, False]]


def test_monochrome1_changes_no_value(build_ct: BuildCt, stored_slice: Stored) -> None:
    ct = read_ct(build_ct(PhotometricInterpretation="MONOCHROME1"), limit_pixels=LIMIT)
    np.testing.assert_array_equal(ct.hu, stored_slice - 1024.0)


def test_oblique_slices_have_a_place_along_their_normal(build_ct: BuildCt) -> None:
    data = build_ct(ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[5, 6, 7])
    assert read_ct(data, limit_pixels=LIMIT).position_mm == -5


def test_geometry_may_be_missing(build_ct: BuildCt) -> None:
    ct = read_ct(build_ct(remove=("PixelSpacing", "ImageOrientationPatient")), limit_pixels=LIMIT)
    assert (ct.spacing_mm, ct.position_mm) == (None, None)


@pytest.mark.parametrize(
    ("attributes", "status", "words"),
    [
        ({"Modality": "MR"}, 422, "modality (0008,0060) is MR"),
        ({"Modality": "Ms. Muster"}, 422, "something unreadable"),
        ({"NumberOfFrames": 2}, 422, "2 frames"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, 422, "single-frame"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, 422, "is RGB"),
        ({"RescaleSlope": 0}, 422, "RescaleSlope (0028,1053) is zero"),
        ({"RescaleType": "OD"}, 422, "RescaleType (0028,1054) is OD"),
        ({"BitsAllocated": 32}, 422, "bits"),
        ({"BitsStored": 17}, 422, "bits"),
        ({"HighBit": 12, "BitsStored": 12}, 422, "bits"),
        ({"Rows": 0}, 422, "0 rows"),
        ({"Rows": 60000, "Columns": 60000}, 413, "60000 x 60000"),
        ({"Rows": 41}, 422, "need 3936 bytes, there are 3840"),
    ],
)
def test_refusals_name_the_fault(
    attributes: dict[str, Any], status: int, words: str, build_ct: BuildCt, problem_of: ProblemOf
) -> None:
    data = build_ct(**attributes)
    problem = problem_of(lambda: read_ct(data, limit_pixels=LIMIT, pointer="/body/slice"))
    assert problem.status == status
    assert problem.errors[0].pointer == "/body/slice"
    assert words in problem.detail


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept", "Rows", "BitsStored", "PixelData", "Modality"])
def test_missing_elements_are_named(keyword: str, build_ct: BuildCt, problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: read_ct(build_ct(remove=(keyword,)), limit_pixels=LIMIT))
    tag = pydicom.datadict.tag_for_keyword(keyword)
    assert tag is not None
    assert f"({tag >> 16:04X},{tag & 0xFFFF:04X})" in problem.detail


@pytest.mark.parametrize(
    ("syntax", "name"),
    [("1.2.840.10008.1.2.4.100", "MPEG2"), ("1.2.840.10008.1.2.4.94", "JPIP"), ("1.2.3.4.5", "unknown to DICOM")],
)
def test_other_transfer_syntaxes_are_named(syntax: str, name: str, build_ct: BuildCt, problem_of: ProblemOf) -> None:
    explicit = "1.2.840.10008.1.2.1"
    codestream = None if syntax == "1.2.3.4.5" else b"\x00" * 64
    data = build_ct(syntax=explicit if codestream is None else syntax, codestream=codestream)
    if codestream is None:
        padded = syntax.encode().ljust(len(explicit) + 1, b"\x00")
        data = data.replace(explicit.encode() + b"\x00", padded, 1)
    problem = problem_of(lambda: read_ct(data, limit_pixels=LIMIT))
    assert problem.status == 415
    assert syntax in problem.detail
    assert name in problem.detail


def test_a_syntax_without_a_decoder_is_named(
    build_ct: BuildCt, problem_of: ProblemOf, stored_slice: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoder, "is_available", False)
    data = build_ct(syntax=JPEGLosslessSV1, codestream=encode_jpeg_lossless(stored_slice))
    problem = problem_of(lambda: read_ct(data, limit_pixels=LIMIT))
    assert problem.status == 415
    assert "1.2.840.10008.1.2.4.70 (JPEG Lossless" in problem.detail


def test_a_deflated_bomb_is_refused(build_ct: BuildCt, problem_of: ProblemOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_parsing, "INFLATED_LIMIT", 1_000_000)
    data = build_ct(np.zeros((1000, 1000), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    assert len(data) < 10_000
    assert problem_of(lambda: read_ct(data, limit_pixels=10**7)).status == 413


def test_an_rle_bomb_is_not_inflated(build_ct: BuildCt) -> None:
    """Each pair of bytes would become 128: the decoder stops at the size of the image."""
    segment = b"\x81\x00" * 500_000
    frame = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2
    data = build_ct(syntax=RLELossless, codestream=frame)
    tracemalloc.start()
    try:
        ct = read_ct(data, limit_pixels=LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (ct.hu == -1024).all()
    assert peak < 5 * len(data)


def test_streams_of_another_size_are_refused(build_ct: BuildCt, problem_of: ProblemOf) -> None:
    big = np.zeros((64, 64), np.uint16)
    for syntax, codestream in ((JPEG2000Lossless, jpeg2000(big)), (JPEGLosslessSV1, encode_jpeg_lossless(big))):
        data = build_ct(syntax=syntax, codestream=codestream)
        problem = problem_of(lambda data=data: read_ct(data, limit_pixels=LIMIT))  # type: ignore[misc]
        assert problem.status == 422
        assert "64 x 64 pixels of 1 samples, but the data set says 40 x 48" in problem.detail


def test_cut_streams_are_refused(build_ct: BuildCt, problem_of: ProblemOf, stored_slice: Stored) -> None:
    for syntax, encode in ((JPEG2000Lossless, jpeg2000), (JPEGLosslessSV1, encode_jpeg_lossless), (RLELossless, rle)):
        codestream = encode(stored_slice)
        data = build_ct(syntax=syntax, codestream=codestream[: len(codestream) * 2 // 3])
        assert problem_of(lambda data=data: read_ct(data, limit_pixels=LIMIT)).status == 422  # type: ignore[misc]


def test_truncation_at_every_length_is_a_problem(build_ct: BuildCt) -> None:
    whole = build_ct(np.ones((8, 8), np.uint16))
    for length in range(len(whole)):
        with pytest.raises(Problem) as caught:
            read_ct(whole[:length], limit_pixels=LIMIT)
        begun = whole.find(ExplicitVRLittleEndian.encode())
        cut_name = begun <= length < begun + len(ExplicitVRLittleEndian) and caught.value.status == 415
        assert cut_name or caught.value.status == (422 if sniff(whole[:length]) else 415), length


def test_compressed_truncation_never_raises_anything_else(build_ct: BuildCt) -> None:
    for syntax, codestream in (
        (RLELossless, rle(np.ones((8, 8), np.uint16))),
        (DeflatedExplicitVRLittleEndian, None),
    ):
        whole = build_ct(np.ones((8, 8), np.uint16), syntax=syntax, codestream=codestream)
        for length in range(0, len(whole), 3):
            with contextlib.suppress(Problem):
                read_ct(whole[:length], limit_pixels=LIMIT)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_raise_problems_only(data: st.DataObject, build_ct: BuildCt) -> None:
    whole = bytearray(build_ct(np.ones((8, 8), np.uint16)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(132, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Problem):
        read_ct(bytes(whole), limit_pixels=LIMIT)


@pytest.mark.parametrize("length", [200, 400, 600])
def test_problems_are_silent_about_the_patient(
    length: int, build_ct: BuildCt, problem_of: ProblemOf, caplog: pytest.LogCaptureFixture
) -> None:
    data = build_ct(StudyDate="Muster^Erika 12.3.1950 is no date")
    for broken in (
        data[:length],
        data.replace(b"DS", b"XX"),
        data.replace(b"\x28\x00\x52\x10DS", b"\x28\x00\x53\x10DS"),
    ):
        problem = problem_of(lambda broken=broken: read_ct(broken, limit_pixels=LIMIT))  # type: ignore[misc]
        assert problem.__cause__ is None
        told = problem.details().model_dump_json() + caplog.text
        assert not any(word in told for word in (*PATIENT.split("^"), "4711", "1950"))


def test_a_patient_in_a_number_is_not_repeated(build_ct: BuildCt, problem_of: ProblemOf) -> None:
    data = build_ct(RescaleIntercept="-1024").replace(b"-1024 ", b"Muster")
    problem = problem_of(lambda: read_ct(data, limit_pixels=LIMIT))
    assert "RescaleIntercept (0028,1052) is missing or no number" in problem.detail
    assert "Muster" not in problem.detail


def test_threads_read_side_by_side(build_ct: BuildCt, stored_slice: Stored) -> None:
    files = [build_ct(), build_ct(syntax=RLELossless, codestream=rle(stored_slice))] * 8
    with ThreadPoolExecutor(4) as threads:
        for ct in threads.map(lambda data: read_ct(data, limit_pixels=LIMIT), files):
            np.testing.assert_array_equal(ct.hu, stored_slice - 1024.0)


def test_a_png_named_dcm_is_refused(problem_of: ProblemOf) -> None:
    assert "This is a PNG file" in problem_of(lambda: read_ct(b"\x89PNG\r\n\x1a\n", limit_pixels=LIMIT)).detail


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "MR Image Storage"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "Secondary Capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, "RT Dose"),
        ({"SOPClassUID": "Muster^Erika"}, "unknown to DICOM"),
    ],
)
def test_what_has_no_hounsfield_units_is_no_slice(
    attributes: dict[str, Any], word: str, build_ct: BuildCt, problem_of: ProblemOf
) -> None:
    problem = problem_of(lambda: read_ct(build_ct(**attributes), limit_pixels=LIMIT))
    assert (problem.status, word in problem.detail) == (422, True)


@pytest.mark.parametrize("end", [b"\xff\xff\xff", b"\x00\xff", b"\xff\x00\x00"])
def test_what_fills_up_the_item_of_a_codestream_is_no_part_of_it(
    end: bytes, build_ct: BuildCt, stored_slice: Stored
) -> None:
    data = build_ct(syntax=JPEG2000Lossless, codestream=jpeg2000(stored_slice) + end)
    np.testing.assert_array_equal(read_ct(data, limit_pixels=LIMIT).hu, stored_slice - 1024.0)


def test_numbers_that_no_float_holds_are_no_numbers(build_ct: BuildCt, problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: read_ct(build_ct(NumberOfFrames="9" * 400), limit_pixels=LIMIT))
    assert "NumberOfFrames" in problem.detail


def test_damaged_jpeg_crashes_no_service(build_ct: BuildCt, stored_slice: Stored) -> None:
    """Under these streams gdcm itself ends with a segmentation fault, or is refused before; either is a problem."""
    whole = encode_jpeg_lossless(stored_slice)
    random = np.random.default_rng(0)
    for _ in range(3):
        damaged = bytearray(whole)
        for place in random.integers(20, 60, 4):
            damaged[place] = random.integers(256)
        with contextlib.suppress(Problem):
            read_ct(build_ct(syntax=JPEGLosslessSV1, codestream=bytes(damaged)), limit_pixels=LIMIT)
