"""A plain JPEG lossless encoder (ITU-T T.81 process 14, predictor 1), so that tests need no compressed files."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode_jpeg_lossless(stored: NDArray[Any]) -> bytes:
    """A 16-bit grey image as a JPEG lossless stream; every difference category has a code of five bits."""
    values = stored.astype(np.uint16).astype(int)
    prediction = np.roll(values, 1, axis=1)
    prediction[1:, 0] = values[:-1, 0]
    prediction[0, 0] = 1 << 15
    bits = "".join(_code(int(difference)) for difference in (values - prediction).ravel())
    bits += "1" * (-len(bits) % 8)
    entropy = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns = stored.shape
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    return (
        b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 11, 16, rows, columns, 1) + b"\x01\x11\x00"
        + b"\xff\xc4" + struct.pack(">H", 2 + len(table)) + table
        + b"\xff\xda" + struct.pack(">HB", 8, 1) + b"\x01\x00" + b"\x01\x00\x00"
        + entropy + b"\xff\xd9"
    )  # fmt: skip


def _code(difference: int) -> str:
    """The category of a difference (modulo 2^16, T.81 H.1.2.2) and its further bits."""
    difference = (difference + 32768) % 65536 - 32768
    if difference == -32768:
        return f"{16:05b}"
    category = abs(difference).bit_length()
    extra = difference if difference > 0 else difference + (1 << category) - 1
    return f"{category:05b}" + (f"{extra:0{category}b}" if category else "")
