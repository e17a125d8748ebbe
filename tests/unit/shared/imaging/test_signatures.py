"""What files are, by their first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imaging.signatures import MediaType, describe, require_type, sniff
from shared.problems import UnsupportedMediaType


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n", MediaType.PNG),
        (b"\xff\xd8\xff\xe0", MediaType.JPEG),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", MediaType.WEBP),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", MediaType.WAV),
        (b"\x93NUMPY\x01\x00", MediaType.NPY),
        (b"\x00" * 128 + b"DICM", MediaType.DICOM),
        (b"PK\x03\x04", MediaType.ZIP),
        (b"PK\x05\x06" + b"\x00" * 18, MediaType.ZIP),
        (b"\x89PNG\r\n", None),
        (b"\x00" * 128 + b"DIC", None),
        (b"RIFF\x00\x00\x00\x00AVI ", None),
        (b"", None),
    ],
)
def test_types_by_magic_bytes(head: bytes, media_type: MediaType | None) -> None:
    assert sniff(head) is media_type


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"GIF89a\x01\x00", "a GIF picture"),
        (b"<svg xmlns='x'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
        (b"\xef\xbb\xbf<!DOCTYPE HTML><p>", "an HTML page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript file"),
        (b"\x7fELF\x02", "an executable program"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"II*\x00", "a TIFF picture"),
        (b"\x80\x04\x95", "a Python pickle"),
        (b"\x00\x00\x00\x18ftypheic", "an MP4, HEIC or AVIF file"),
        (b"x" * 257 + b"ustar", "a tar archive"),
        (b'{"a": 1}', "JSON or other text"),
        (b"hello", "plain text"),
        (b"\x00\x01\x02\x03", "of an unknown type"),
        (b"\xfe\xfe\xfe", "of an unknown type"),
        (b"", "an empty file"),
        (b"\x93NUMPY\x01\x00", "a NPY file"),
    ],
)
def test_other_files_are_named(data: bytes, name: str) -> None:
    assert describe(data) == name


def test_a_pdf_named_png_is_called_a_pdf() -> None:
    with pytest.raises(UnsupportedMediaType, match=r"This is a PDF document, not PNG or JPEG") as caught:
        require_type(b"%PDF-1.4", [MediaType.PNG, MediaType.JPEG], pointer="/body/image")
    assert caught.value.errors[0].pointer == "/body/image"


def test_a_type_that_is_not_wanted_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType, match="This is a ZIP file, not DICOM"):
        require_type(b"PK\x03\x04", [MediaType.DICOM])


@given(st.binary(max_size=600))
def test_any_bytes_can_be_described(data: bytes) -> None:
    assert describe(data)
