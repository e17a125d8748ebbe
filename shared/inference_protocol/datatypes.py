"""Names of datatypes in the protocol, in cards and in NumPy."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

BYTES: Final = "BYTES"
"""Elements of any length; strings in the graph."""

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BYTES: np.dtype("O"),
}
"""Every datatype that a tensor may have here (Open Inference Protocol, "Tensor Data Types", without BF16)."""

_BY_CARD: Final = {dtype.name: name for name, dtype in DTYPES.items() if name != BYTES} | {"string": BYTES}


def datatype_of(card_dtype: str) -> str:
    """The protocol's name of a card's dtype, such as FP32 of float32.

    Raises:
        KeyError: the protocol has none.
    """
    return _BY_CARD[card_dtype]
