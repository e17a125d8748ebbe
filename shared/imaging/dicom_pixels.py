"""Pixel data of a single-frame grey DICOM image, in every transfer syntax for which a decoder is installed.

Decoders allocate what the compressed stream claims, so the claim is read by hand and compared with the data set first.
RLE is decoded here because the general decoders inflate it without a bound (PS3.5 annex G); the JPEG family goes
through pydicom's plugins.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from shared.imaging.dicom_parsing import quiet, unsupported_syntax
from shared.isolation import run_isolated
from shared.problems import Problem, field_problem

_HIGH_THROUGHPUT_PREFIX: Final = "1.2.840.10008.1.2.4.20"
_START_OF_FRAME: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_RLE_HEADER: Final = 64
_ISOLATED: Final = frozenset({JPEGBaseline8Bit, JPEGLossless, JPEGLosslessSV1})
"""Decoded by gdcm in a process of its own, 0.3 s for each image: damaged streams have been seen to crash it."""
_ISOLATED_SECONDS: Final = 60.0
_ISOLATED_BYTES: Final = 1024**3
_PLUGINS: Final = {
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
}
"""The decoder that is used where several can: the same answer wherever a further one is installed."""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the stored values of an image are laid out.

    Attributes:
        rows: height.
        columns: width.
        bits_allocated: 8 or 16, the container.
        bits_stored: the low bits in use.
        signed: two's complement.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type of the container, in native byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def size(self) -> int:
        """Bytes of the uncompressed image."""
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def lowest(self) -> int:
        """Smallest value that can be stored."""
        return -(1 << (self.bits_stored - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest value that can be stored."""
        return (1 << (self.bits_stored - int(self.signed))) - 1


@dataclass(frozen=True, slots=True)
class Lossy:
    """An irreversible compression.

    Attributes:
        method: defined term of LossyImageCompressionMethod (PS3.3 C.7.6.1.1.5.1).
        ratio: bytes of the image over bytes of its codestream.
    """

    method: str
    ratio: float


def lossy_compression(dataset: Dataset, layout: PixelFormat) -> Lossy | None:
    """What the compression of a decoded image lost, None where it is reversible or there is none.

    JPEG 2000 says so in its codestream: the 9-7 wavelet is irreversible (ISO 15444-1 A.6.1), also where the transfer
    syntax allows both. JPEG-LS says by how much a value may be off (ISO 14495-1 C.2.3).
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if not syntax.is_encapsulated or syntax == RLELossless:
        return None
    frame = get_frame(_pixel_bytes(dataset, ""), 0, number_of_frames=1)
    method = _lossy_method(frame, syntax)
    return None if method is None else Lossy(method, layout.size / max(1, len(frame)))


def _lossy_method(frame: bytes, syntax: UID) -> str | None:
    if syntax in {JPEGBaseline8Bit, JPEGExtended12Bit}:
        return "ISO_10918_1"
    if syntax in JPEGLSTransferSyntaxes:
        start = frame.find(b"\xff\xda")
        return "ISO_14495_1" if start >= 0 and frame[start + 7 : start + 8] not in {b"", b"\0"} else None
    style = frame.find(b"\xff\x52", max(frame.find(b"\xff\x4f"), 0))
    if style < 0 or frame[style + 13 : style + 14] != b"\0":
        return None
    if syntax.startswith(_HIGH_THROUGHPUT_PREFIX):
        return "ISO_15444_15"
    return "ISO_15444_1" if syntax in JPEG2000TransferSyntaxes else None


def decode_pixels(dataset: Dataset, layout: PixelFormat, *, pointer: str) -> NDArray[Any]:
    """The stored values (rows, columns) of a data set, with unused high bits removed.

    Raises:
        UnsupportedMediaType: there is no decoder for the transfer syntax.
        UnprocessableContent: no pixel data, too few of them, or a damaged stream.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    data = _pixel_bytes(dataset, pointer)
    if not syntax.is_encapsulated:
        stored = _decode_native(data, layout, big_endian=not syntax.is_little_endian, pointer=pointer)
    else:
        stored = _decode_encapsulated(data, layout, syntax, pointer)
    return _drop_unused_bits(stored, layout)


def _pixel_bytes(dataset: Dataset, pointer: str) -> bytes:
    try:
        data = dataset["PixelData"].value
    except Exception:  # a missing element, or one that pydicom cannot convert
        data = None
    if not isinstance(data, bytes) or not data:
        raise field_problem(pointer, "The DICOM file holds no pixel data (7FE0,0010), or is cut off before them.")
    return data


def _decode_native(data: bytes, layout: PixelFormat, *, big_endian: bool, pointer: str) -> NDArray[Any]:
    if len(data) < layout.size:
        detail = (
            f"The pixel data are cut off: {layout.rows} x {layout.columns} pixels of {layout.bits_allocated} bits "
            f"need {layout.size} bytes, there are {len(data)}."
        )
        raise field_problem(pointer, detail)
    dtype = layout.dtype.newbyteorder(">" if big_endian else "<")
    if big_endian and layout.bits_allocated == 8:
        # Big-endian files hold bytes in swapped pairs where they are written as words (PS3.5 annex A.3).
        raise unsupported_syntax(UID("1.2.840.10008.1.2.2"), pointer)
    pixels = np.frombuffer(data, dtype, layout.rows * layout.columns)
    return pixels.reshape(layout.rows, layout.columns).astype(layout.dtype)


def _decode_encapsulated(data: bytes, layout: PixelFormat, syntax: UID, pointer: str) -> NDArray[Any]:
    try:
        frame = get_frame(data, 0, number_of_frames=1)
        if syntax == RLELossless:
            return _decode_rle(frame, layout)
        _require_same_size(frame, layout, syntax, pointer)
        return _decode_with_plugin(data, layout, syntax, pointer)
    except Problem:
        raise
    except Exception:  # decoders throw anything at damaged bytes
        raise field_problem(pointer, f"The compressed pixel data ({syntax.name}) are cut off or damaged.") from None


def _decode_with_plugin(data: bytes, layout: PixelFormat, syntax: UID, pointer: str) -> NDArray[Any]:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise unsupported_syntax(syntax, pointer) from None
    if not decoder.is_available:
        raise unsupported_syntax(syntax, pointer)
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "pixel_keyword": "PixelData",
    }
    if syntax in _ISOLATED:
        return _decode_isolated(data, layout, syntax, options)
    with quiet():
        plugin = _PLUGINS.get(syntax, "")
        pixels, _ = decoder.as_array(data, index=0, raw=True, decoding_plugin=plugin, **options)
    if pixels.shape != (layout.rows, layout.columns):
        raise ValueError("the decoder returned another shape")
    return pixels.astype(layout.dtype)


def _decode_isolated(data: bytes, layout: PixelFormat, syntax: UID, options: dict[str, Any]) -> NDArray[Any]:
    request = {"syntax": str(syntax), "options": options, "memory_bytes": _ISOLATED_BYTES}
    frame = get_frame(data, 0, number_of_frames=1)
    answer = run_isolated("shared.imaging.isolated_jpeg", request, frame, timeout_s=_ISOLATED_SECONDS)
    if answer is None or answer[0]["shape"] != [layout.rows, layout.columns]:
        raise ValueError("the decoder crashed, or returned another shape")
    pixels = np.frombuffer(answer[1], answer[0]["dtype"]).reshape(layout.rows, layout.columns)
    return pixels.astype(layout.dtype)


def _require_same_size(frame: bytes, layout: PixelFormat, syntax: UID, pointer: str) -> None:
    """Compare the claim inside a JPEG, JPEG-LS or JPEG 2000 stream with the data set, and look for the stream's end."""
    if syntax in JPEG2000TransferSyntaxes or syntax.startswith(_HIGH_THROUGHPUT_PREFIX):
        claimed = _jpeg2000_size(frame)
    elif syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        claimed = _jpeg_size(frame)
    else:
        raise unsupported_syntax(syntax, pointer)
    if claimed != (layout.rows, layout.columns, 1):
        detail = (
            f"The compressed image is {claimed[0]} x {claimed[1]} pixels of {claimed[2]} samples, but the data set "
            f"says {layout.rows} x {layout.columns} of 1."
        )
        raise field_problem(pointer, detail)
    # What fills up the item is not always zero.
    if not frame.rstrip(b"\x00\xff").endswith(b"\xff\xd9"):
        raise field_problem(pointer, "The compressed image is cut off: its end marker is missing.")


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    position = 2
    while True:
        prefix, marker, length = struct.unpack_from(">BBH", frame, position)
        if prefix != 0xFF:
            raise ValueError("no marker where one has to be")
        if marker in _START_OF_FRAME:
            rows, columns, samples = struct.unpack_from(">HHB", frame, position + 5)
            return rows, columns, samples
        # 0xFF may be repeated before a marker.
        position += 1 if marker == 0xFF else 2 + length


def _jpeg2000_size(frame: bytes) -> tuple[int, int, int]:
    start = frame.index(b"\xff\x4f\xff\x51")
    right, bottom, left, top = struct.unpack_from(">IIII", frame, start + 8)
    (samples,) = struct.unpack_from(">H", frame, start + 40)
    return bottom - top, right - left, samples


def _decode_rle(frame: bytes, layout: PixelFormat) -> NDArray[Any]:
    """Byte planes, most significant first, each a PackBits stream (PS3.5 annex G)."""
    planes = layout.bits_allocated // 8
    header = struct.unpack_from("<16I", frame)
    if header[0] != planes:
        raise ValueError("the number of RLE segments does not fit the bits allocated")
    bounds = [*header[1 : planes + 1], len(frame)]
    pixels = layout.rows * layout.columns
    decoded = np.empty((pixels, planes), np.uint8)
    for plane, (start, end) in enumerate(itertools.pairwise(bounds)):
        if not _RLE_HEADER <= start <= end <= len(frame):
            raise ValueError("an RLE segment lies outside of the frame")
        decoded[:, planes - 1 - plane] = np.frombuffer(_unpack_bits(frame[start:end], pixels), np.uint8)
    return decoded.view(layout.dtype.newbyteorder("<")).reshape(layout.rows, layout.columns).astype(layout.dtype)


def _unpack_bits(segment: bytes, size: int) -> bytes:
    """Exactly `size` bytes of a PackBits stream; what follows is padding."""
    unpacked = bytearray()
    position = 0
    while len(unpacked) < size:
        header = segment[position]
        if header < 128:
            unpacked += segment[position + 1 : position + 2 + header]
            position += 2 + header
        elif header > 128:
            unpacked += segment[position + 1 : position + 2] * (257 - header)
            position += 2
        else:
            position += 1
    if len(unpacked) > size or position > len(segment):
        raise ValueError("an RLE segment has another length than the image")
    return bytes(unpacked)


def _drop_unused_bits(stored: NDArray[Any], layout: PixelFormat) -> NDArray[Any]:
    """Clear (or sign-extend over) the bits above those stored, where old files keep overlays."""
    unused = layout.bits_allocated - layout.bits_stored
    if unused == 0:
        return stored
    shifted: NDArray[Any] = np.right_shift(np.left_shift(stored, unused), unused)
    return shifted
