"""PNG, JPEG and WebP: what is decoded, what is refused, and what never gets out again."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from shared.imaging.pictures import decode_picture, encode_png
from shared.imaging.signatures import MediaType, sniff
from shared.problems import Problem

ProblemOf = Callable[[Callable[[], object]], Problem]
LIMIT = 100_000


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, extra: bytes = b"", raw: bytes = b"") -> bytes:
    start = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def colours() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (9, 13, 3), dtype=np.uint8)


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_grey_round_trip(pixels: NDArray[np.uint8]) -> None:
    picture = decode_picture(encode_png(pixels), limit_pixels=LIMIT)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.maximum, picture.pixels.dtype.name, picture.media_type) == (255, "uint8", MediaType.PNG)


@given(npst.arrays(np.uint16, npst.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_sixteen_bit_round_trip(pixels: NDArray[np.uint16]) -> None:
    picture = decode_picture(encode_png(pixels), limit_pixels=LIMIT)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.maximum, picture.pixels.dtype.name) == (65535, "uint16")
    np.testing.assert_allclose(picture.scaled(), pixels / 65535, atol=1e-7)


def test_colour_round_trip(colours: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(decode_picture(encode_png(colours), limit_pixels=LIMIT).pixels, colours)
    lossless = decode_picture(encoded(Image.fromarray(colours), "WEBP", lossless=True), limit_pixels=LIMIT)
    np.testing.assert_array_equal(lossless.pixels, colours)
    assert lossless.media_type is MediaType.WEBP


def test_jpeg_of_a_flat_grey() -> None:
    picture = decode_picture(encoded(Image.new("L", (16, 8), 77), "JPEG"), limit_pixels=LIMIT)
    assert picture.pixels.shape == (8, 16)
    assert set(picture.pixels.ravel().tolist()) == {77}


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("1", (8, 6)), ("L", (8, 6)), ("LA", (8, 6)), ("P", (8, 6, 3)), ("RGB", (8, 6, 3)), ("RGBA", (8, 6, 3))],
)
def test_modes_become_grey_or_rgb(mode: str, shape: tuple[int, ...]) -> None:
    picture = decode_picture(encoded(Image.new("RGB", (6, 8), "red").convert(mode), "PNG"), limit_pixels=LIMIT)
    assert picture.pixels.shape == shape
    assert picture.pixels.dtype == np.uint8


def test_cmyk_becomes_rgb() -> None:
    picture = decode_picture(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), limit_pixels=LIMIT)
    assert picture.pixels.shape == (8, 8, 3)
    assert picture.pixels[0, 0, 0] > 200
    assert picture.pixels[0, 0, 1] < 60


def test_transparency_is_laid_over_white() -> None:
    clear = decode_picture(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "PNG"), limit_pixels=LIMIT)
    assert clear.pixels[0, 0].tolist() == [255, 255, 255]
    half = decode_picture(encoded(Image.new("LA", (2, 2), (0, 128)), "PNG"), limit_pixels=LIMIT)
    assert half.pixels[0, 0] == pytest.approx(127, abs=1)


def test_exif_orientation_is_applied(colours: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after turning by 90 degrees clockwise
    picture = decode_picture(encoded(Image.fromarray(colours), "PNG", exif=exif), limit_pixels=LIMIT)
    np.testing.assert_array_equal(picture.pixels, np.rot90(colours, -1))


def test_png_carries_no_metadata(colours: NDArray[np.uint8]) -> None:
    data = encode_png(colours)
    kinds, position = set(), 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kinds.add(data[position + 4 : position + 8])
        position += 12 + length
    assert kinds == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 2), np.float32),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 2, 3), np.uint16),
        np.zeros(4, np.uint8),
    ],
)
def test_other_arrays_are_no_png(pixels: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="a PNG takes"):
        encode_png(pixels)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_truncation_at_every_length_is_a_problem(kind: str, colours: NDArray[np.uint8]) -> None:
    whole = encoded(Image.fromarray(colours), kind)
    for length in range(len(whole)):
        with pytest.raises(Problem) as caught:
            decode_picture(whole[:length], limit_pixels=LIMIT)
        assert caught.value.status == (422 if sniff(whole[:length]) else 415)


def test_truncated_jpeg(colours: NDArray[np.uint8]) -> None:
    whole = encoded(Image.fromarray(colours), "JPEG", quality=95)
    for length in range(len(whole)):
        with pytest.raises(Problem) as caught:
            decode_picture(whole[:length], limit_pixels=LIMIT)
        assert caught.value.status == (422 if sniff(whole[:length]) else 415)


def test_a_cut_png_says_so(problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: decode_picture(encode_png(np.zeros((9, 9), np.uint8))[:-3], limit_pixels=LIMIT))
    assert "cut off" in problem.detail


@given(st.data())
def test_damaged_files_raise_problems_only(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))
    whole = bytearray(encoded(Image.new("RGB", (12, 9), "teal"), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Problem):
        decode_picture(bytes(whole), limit_pixels=LIMIT)


def test_pixel_ceiling_is_judged_by_the_header(problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: decode_picture(png(60_000, 60_000), limit_pixels=LIMIT))
    assert problem.status == 413
    problem = problem_of(lambda: decode_picture(png(400, 400), limit_pixels=LIMIT, pointer="/body/image"))
    assert (problem.status, problem.errors[0].pointer) == (413, "/body/image")
    assert "400 x 400" in problem.detail


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str, problem_of: ProblemOf) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    problem = problem_of(lambda: decode_picture(data, limit_pixels=LIMIT))
    assert problem.status == 422
    assert "animated (3 frames)" in problem.detail


def test_a_text_bomb_is_refused(problem_of: ProblemOf) -> None:
    bomb = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(b"A" * 50_000_000))
    raw = b"\x00\x00" * 1
    assert problem_of(lambda: decode_picture(png(1, 1, extra=bomb, raw=raw), limit_pixels=LIMIT)).status == 422
    assert PngImagePlugin.MAX_TEXT_MEMORY <= 1024 * 1024


def test_other_content_is_named(problem_of: ProblemOf) -> None:
    problem = problem_of(lambda: decode_picture(b"%PDF-1.7 called scan.png", limit_pixels=LIMIT))
    assert problem.status == 415
    assert "This is a PDF document" in problem.detail


def test_the_parser_is_chosen_by_the_caller(problem_of: ProblemOf) -> None:
    jpeg = encoded(Image.new("L", (8, 8)), "JPEG")
    assert problem_of(lambda: decode_picture(jpeg, limit_pixels=LIMIT, accepted=[MediaType.PNG])).status == 415
    assert problem_of(lambda: decode_picture(encoded(Image.new("L", (8, 8)), "TIFF"), limit_pixels=LIMIT)).status == 415
