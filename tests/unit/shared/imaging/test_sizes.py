"""What a file will cost is read off its header, for every kind that is read, and never understated."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from shared.imaging.arrays import encode_npy
from shared.imaging.dicom_writing import new_ct
from shared.imaging.pictures import decode_picture
from shared.imaging.sizes import UNKNOWN, stated_pixels, upright_sides

HEIGHT, WIDTH = 37, 61


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(stream, format=kind)
    return stream.getvalue()


def ct(syntax: str = ExplicitVRLittleEndian) -> bytes:
    made = new_ct(np.zeros((HEIGHT, WIDTH), np.float32), spacing_mm=(1, 1), series_description="-", derivation="-")
    dataset = pydicom.dcmread(io.BytesIO(made))
    little = syntax != ExplicitVRBigEndian
    stream = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    pydicom.dcmwrite(
        stream, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little, enforce_file_format=True
    )
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures(kind: str) -> None:
    assert stated_pixels(picture(kind)) == HEIGHT * WIDTH


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_dicom_whatever_its_byte_order(syntax: str) -> None:
    assert stated_pixels(ct(syntax)) == HEIGHT * WIDTH


def test_deflated_dicom_is_taken_to_be_large() -> None:
    data = ct(DeflatedExplicitVRLittleEndian)
    assert zlib.crc32(data)
    assert stated_pixels(data) == UNKNOWN


def test_elements_that_pretend_to_be_small_do_not_hide_the_true_ones() -> None:
    pretence = b"\x28\x00\x10\x00US\x02\x00\x01\x00"
    data = ct()
    assert stated_pixels(data[:140] + pretence + data[140:]) == HEIGHT * WIDTH


def test_arrays() -> None:
    assert stated_pixels(encode_npy(np.zeros((HEIGHT, WIDTH, 3), np.uint8))) == HEIGHT * WIDTH * 3


@pytest.mark.parametrize(
    "data", [b"", b"text", picture("PNG")[:18], picture("JPEG")[:12], b"\x93NUMPY\x01\x00\xff\xff"]
)
def test_nothing_is_made_of_damaged_headers(data: bytes) -> None:
    assert stated_pixels(data) == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_upright_sides_are_those_of_the_decoded_picture(kind: str, orientation: int | None) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(stream, format=kind, exif=exif)
    pixels = decode_picture(stream.getvalue(), limit_pixels=10_000).pixels
    assert upright_sides(stream.getvalue()) == (pixels.shape[1], pixels.shape[0])


def test_the_beginning_of_a_picture_tells_its_sides() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    for kind in ("PNG", "JPEG"):
        stream = io.BytesIO()
        Image.fromarray(noise).save(stream, format=kind)
        assert upright_sides(stream.getvalue()[:1000]) == (WIDTH, HEIGHT)
        assert upright_sides(stream.getvalue()[:18]) is None
    assert upright_sides(b"") is None
    assert upright_sides(encode_npy(np.zeros((3, 3)))) is None
