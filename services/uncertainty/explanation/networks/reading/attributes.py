"""Attributes of ONNX operators, each of which is read or refused: one that is passed over makes a wrong answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from services.uncertainty.explanation.networks.graph import Sides, Size, UnsupportedNode


def read_attributes(node: onnx.NodeProto, **defaults: Any) -> dict[str, Any]:
    """The attributes of a node, with what holds where one is not given.

    Raises:
        UnsupportedNode: it has one that is not among `defaults`.
    """
    found = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if unknown := sorted(set(found) - set(defaults)):
        raise UnsupportedNode(f"the attribute {', '.join(unknown)}")
    return defaults | found


def same_steps(strides: Sequence[int]) -> int:
    """The stride of both axes.

    Raises:
        UnsupportedNode: they differ.
    """
    if len(strides) != 2 or len({*strides}) != 1:
        raise UnsupportedNode("padding or strides that differ between sides")
    return int(strides[0])


def padding_of(settings: dict[str, Any], kernel: Sequence[int], stride: int, below: Size) -> Size:
    """Zeros above and below, and left and right; see `sides_of`.

    Raises:
        UnsupportedNode: two sides of an axis differ.
    """
    above, left, under, right = sides_of(settings, kernel, stride, below)
    if (above, left) != (under, right):
        raise UnsupportedNode("padding or strides that differ between sides")
    return above, left


def sides_of(settings: dict[str, Any], kernel: Sequence[int], stride: int, below: Size) -> Sides:
    """Zeros above, left, below and right, by `pads` or `auto_pad`.

    Args:
        settings: of the node.
        kernel: height and width of the window.
        stride: of both axes.
        below: height and width of what it reads.

    Raises:
        UnsupportedNode: they cut something off, or are given in a way that is not known.
    """
    how = settings["auto_pad"]
    pads = list(settings["pads"] or [0, 0, 0, 0])
    if how in {b"SAME_UPPER", b"SAME_LOWER"}:
        pads = _same(kernel, stride, below)
        if how == b"SAME_LOWER":
            pads = pads[2:] + pads[:2]
    elif how == b"VALID":
        pads = [0, 0, 0, 0]
    elif how != b"NOTSET":
        raise UnsupportedNode(f"the padding {how!r}")
    if len(pads) != 4 or min(pads) < 0:
        raise UnsupportedNode("padding that cuts something off, or of another number of axes")
    return pads[0], pads[1], pads[2], pads[3]


def _same(kernel: Sequence[int], stride: int, below: Size) -> list[int]:
    """Padding that makes the answer as large as its input over the stride, the odd one at the end."""
    whole = [
        max(0, (-(-extent // stride) - 1) * stride + side - extent) for side, extent in zip(kernel, below, strict=True)
    ]
    return [*(total // 2 for total in whole), *(total - total // 2 for total in whole)]
