"""Checkpoints as bytes: a JSON document and arrays of numbers in one NPZ; never pickles. The same content has the same
bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_DOCUMENT: Final = "document"
_SMALL: Final = np.iinfo(np.int16)
_QUICK: Final = 1
"""Level of compression: there may be a checkpoint for each query."""


def pack(document: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A checkpoint of a JSON document and arrays by name; int32 is kept as int16 where that holds it."""
    stream, content = io.BytesIO(), {_DOCUMENT: np.frombuffer(document, np.uint8), **arrays}
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=_QUICK) as archive:
        for name, array in content.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, _narrow(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED, _QUICK)
    return stream.getvalue()


def unpack(checkpoint: bytes) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """Document and arrays of a checkpoint.

    Raises:
        ValueError: the bytes are no checkpoint, or damaged.
    """
    try:
        with np.load(io.BytesIO(checkpoint), allow_pickle=False) as archive:
            arrays = {name: _widen(archive[name]) for name in archive.files}
        return arrays.pop(_DOCUMENT).tobytes(), arrays
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, AttributeError, TypeError, ValueError) as error:
        raise ValueError("this is no checkpoint of a campaign, or it is damaged") from error


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    fits = array.dtype == np.int32 and array.size and array.min() >= _SMALL.min and array.max() <= _SMALL.max
    return array.astype(np.int16) if fits else array


def _widen(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.int32) if array.dtype == np.int16 else array
