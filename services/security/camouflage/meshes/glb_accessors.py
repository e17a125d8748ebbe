"""Numbers out of the binary chunk of a GLB, never more than lie in it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.problems import ContentTooLarge

_TYPES: Final[dict[int, str]] = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class Malformed(Exception):
    """A GLB is not what it should be; the text says how, for the caller."""


def whole(value: Any) -> int:
    """A number of JSON that counts something.

    Raises:
        Malformed: it is none, or negative.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Malformed("a number that counts something is not a whole one")
    return value


def entry(document: dict[str, Any], kind: str, index: Any) -> dict[str, Any]:
    """An entry of one of the document's lists.

    Raises:
        Malformed: there is none.
    """
    entries = document.get(kind) or []
    if whole(index) >= len(entries) or not isinstance(entries[index], dict):
        raise Malformed(f"entry {index} of {kind} is missing")
    found: dict[str, Any] = entries[index]
    return found


def read_accessor(
    document: dict[str, Any], binary: memoryview, index: Any, *, width: int, limit: int
) -> NDArray[np.float64]:
    """Values of an accessor, float64 (count, width); whole numbers that stand for shares become these.

    Args:
        document: the JSON document.
        binary: the chunk that values lie in.
        index: of the accessor.
        width: numbers of an element.
        limit: most elements.

    Raises:
        ContentTooLarge: there are more.
        Malformed: they do not lie in the chunk.
    """
    accessor = entry(document, "accessors", index)
    count = whole(accessor.get("count"))
    if count > limit:
        raise ContentTooLarge("The mesh has more vertices or triangles than are allowed; simplify it.")
    if _WIDTHS.get(str(accessor.get("type"))) != width or "sparse" in accessor or "bufferView" not in accessor:
        raise Malformed(f"accessor {index} is sparse, empty, or of another type than it is used for")
    view = entry(document, "bufferViews", accessor["bufferView"])
    kind = np.dtype(_TYPES.get(accessor.get("componentType", 0), "V1"))
    if kind.kind == "V":
        raise Malformed(f"accessor {index} has an unknown type of numbers")
    start, size = whole(view.get("byteOffset", 0)), whole(view.get("byteLength"))
    offset, step = whole(accessor.get("byteOffset", 0)), whole(view.get("byteStride", 0)) or kind.itemsize * width
    if count == 0:
        return np.zeros((0, width))
    if step > 255 or start + size > len(binary) or offset + step * (count - 1) + kind.itemsize * width > size:
        raise Malformed(f"accessor {index} reaches beyond the data")
    values = np.ndarray((count, width), kind, binary, start + offset, (step, kind.itemsize)).astype(np.float64)
    return values / np.iinfo(kind).max if accessor.get("normalized") and kind.kind in "iu" else values
