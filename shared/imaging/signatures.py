"""What bytes are, by what they begin with and never by a file name or a declared type.

A decoder is only chosen after this: libraries that guess the format by themselves would happily run their PostScript
or FITS code on a file that is called .png (OWASP File Upload Cheat Sheet, "File Signature Validation").
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from shared.problems import FieldError, UnsupportedMediaType


class MediaType(StrEnum):
    """The types that Facet reads."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    WEBP = "image/webp"
    NPY = "application/x-npy"
    DICOM = "application/dicom"
    ZIP = "application/zip"
    WAV = "audio/wav"


_NAMES: Final[dict[MediaType, str]] = {
    MediaType.PNG: "PNG",
    MediaType.JPEG: "JPEG",
    MediaType.WEBP: "WebP",
    MediaType.NPY: "NPY",
    MediaType.DICOM: "DICOM",
    MediaType.ZIP: "ZIP",
    MediaType.WAV: "WAV",
}

_DICOM_PREAMBLE: Final = 128

_DICOM_STARTS: Final = (
    b"\x02\x00\x00\x00",
    b"\x02\x00\x10\x00",
    b"\x08\x00\x05\x00",
    b"\x08\x00\x00\x00",
    b"\x08\x00\x08\x00",
)
_UNKNOWN: Final = "of an unknown type"
_EMPTY: Final = "an empty file"
_WITHOUT_PREAMBLE: Final = "a DICOM data set without the preamble of a file (PS3.10 7.1)"

_FOREIGN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF-", "a PDF document"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"\x7fELF", "an executable program"),
    (b"MZ", "an executable program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"(\xb5/\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"II+\x00", "a BigTIFF picture"),
    (b"BM", "a BMP picture"),
    (b"8BPS", "a Photoshop document"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 codestream"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"OggS", "an Ogg file"),
    (b"fLaC", "a FLAC file"),
    (b"ID3", "an MP3 file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM film"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"#!", "a script"),
)

_TEXTS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"{", "JSON or other text"),
    (b"[", "JSON or other text"),
)


def sniff(data: bytes) -> MediaType | None:
    """The type of `data` by its first bytes, or None when it is none that Facet reads."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return MediaType.PNG
    if data.startswith(b"\xff\xd8\xff"):
        return MediaType.JPEG
    if data.startswith(b"\x93NUMPY"):
        return MediaType.NPY
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return MediaType.ZIP
    if data[_DICOM_PREAMBLE : _DICOM_PREAMBLE + 4] == b"DICM":
        return MediaType.DICOM
    return _sniff_riff(data)


def describe(data: bytes) -> str:
    """What `data` seems to be, in words that fit behind "this is"."""
    media_type = sniff(data)
    if media_type is not None:
        return f"a {_NAMES[media_type]} file"
    if not data:
        return _EMPTY
    for magic, name in _FOREIGN:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return "an MP4, HEIC or AVIF file"
    if data[257:262] == b"ustar":
        return "a tar archive"
    if data.startswith(_DICOM_STARTS):
        return _WITHOUT_PREAMBLE
    return _describe_text(data)


def is_foreign(data: bytes) -> bool:
    """Whether `data` is of a type that is known and not read here, such as text, a PDF document or a program."""
    return sniff(data) is None and describe(data) not in {_UNKNOWN, _EMPTY, _WITHOUT_PREAMBLE}


def require_type(data: bytes, accepted: Collection[MediaType], *, pointer: str = "/body/file") -> MediaType:
    """The type of `data`, which has to be one of `accepted`.

    Raises:
        UnsupportedMediaType: it is something else; the detail says what it seems to be.
    """
    media_type = sniff(data)
    if media_type is not None and media_type in accepted:
        return media_type
    wanted = " or ".join(_NAMES[each] for each in accepted)
    detail = f"This is {describe(data)}, not {wanted}; the content counts, not the name of the file."
    raise UnsupportedMediaType(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def _sniff_riff(data: bytes) -> MediaType | None:
    if data[:4] != b"RIFF":
        return None
    return {b"WEBP": MediaType.WEBP, b"WAVE": MediaType.WAV}.get(data[8:12])


def _describe_text(data: bytes) -> str:
    head = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in head:
        return "an SVG drawing"
    for start, name in _TEXTS:
        if head.startswith(start):
            return name
    try:
        data[:512].decode("ascii")
    except UnicodeDecodeError:
        return _UNKNOWN
    return _UNKNOWN if b"\x00" in data[:512] else "plain text"
