"""Checkpoints as bytes: a JSON document and arrays in one NPZ; never pickles. The same content has the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_DOCUMENT: Final = "document"


def pack(document: bytes, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A checkpoint of a JSON document and arrays by name."""
    stream, content = io.BytesIO(), dict[str, Any](arrays)
    content[_DOCUMENT] = np.frombuffer(document, np.uint8)
    np.savez_compressed(stream, allow_pickle=False, **content)
    return stream.getvalue()


def unpack(checkpoint: bytes) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """Document and arrays of a checkpoint.

    Raises:
        ValueError: the bytes are no checkpoint, or damaged.
    """
    try:
        with np.load(io.BytesIO(checkpoint), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return arrays.pop(_DOCUMENT).tobytes(), arrays
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, AttributeError, TypeError, ValueError) as error:
        raise ValueError("this is no checkpoint of a campaign, or it is damaged") from error
