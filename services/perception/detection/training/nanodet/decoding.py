"""What the heads of NanoDet say, as boxes and scores: nodes of an ONNX graph, for pictures of any size.

After the author's code (RangiLyu/nanodet, nanodet/model/head/gfl_head.py): the distance of an edge is the mean of its
distribution, and goes out from the middle of the cell. Overlaps are not suppressed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from onnx import TensorProto

from services.perception.detection.training.nanodet.layers import CLASSES, STEPS, STRIDES
from services.perception.training.graphs import GraphWriter
from shared.detectors.roles import BOXES, SCORES

REGION_LIMIT: Final = 1000
"""Most regions of a picture; the author's code takes as many of each level, of which a hundred are left at the end."""


def write_regions(writer: GraphWriter, image: str, heads: str, maps: Sequence[str]) -> None:
    """Add the outputs: boxes and scores of the surest cells, the surest first.

    Args:
        writer: of the graph.
        image: its input.
        heads: (cells, 80 + 4 * 11), see `LayerWriter.heads`.
        maps: feature maps that the cells are of.
    """
    classes, edges = writer.split(heads, [CLASSES, 4 * STEPS], name="logits")
    chosen = _surest(writer, classes)
    writer.node("Sigmoid", writer.node("Gather", classes, chosen, name="chosen_logits"), name=SCORES)
    strides_away = _distances(writer, writer.node("Gather", edges, chosen, name="chosen_edges"))
    cells = writer.node("Gather", _cells(writer, maps), chosen, name="chosen_cells")
    middles, strides = writer.split(cells, [4, 1], name="place")
    away = writer.node("Mul", strides_away, strides, name="pixels_away")
    found = writer.node("Add", middles, away, name="any_edges")
    found = writer.node("Max", found, writer.number("zero", 0.0), name="edges_from_zero")
    writer.node("Min", found, _limits(writer, image), name=BOXES)


def _surest(writer: GraphWriter, classes: str) -> str:
    """Numbers of the cells whose best class has the largest logits, falling."""
    best = writer.node("ReduceMax", classes, _whole(writer, "classes_axis", [1]), name="best", keepdims=0)
    count = writer.node("Shape", best, name="cell_count")
    count = writer.node("Min", count, _whole(writer, "region_limit", [REGION_LIMIT]), name="region_count")
    return writer.largest(best, count, name="surest")


def _distances(writer: GraphWriter, edges: str) -> str:
    """From the middle of each cell to left, top, right and bottom, in strides, those to the left and top negative."""
    each = writer.node("Reshape", edges, _whole(writer, "four_edges", [-1, 4, STEPS]), name="four_distributions")
    chances = writer.node("Softmax", each, name="chances", axis=-1)
    mean = writer.node("MatMul", chances, _values(writer, "steps", range(STEPS)), name="mean_distances")
    return writer.node("Mul", mean, _values(writer, "outwards", [-1, -1, 1, 1]), name="strides_away")


def _cells(writer: GraphWriter, maps: Sequence[str]) -> str:
    """Middles of the cells as x, y, x, y in pixels, and their stride, (cells, 5)."""
    column, row = _whole(writer, "as_column", [-1, 1, 1]), _whole(writer, "as_row", [1, -1, 1])
    picks_y, picks_x = _values(writer, "picks_y", [0, 1, 0, 1, 0]), _values(writer, "picks_x", [1, 0, 1, 0, 0])
    columns = _whole(writer, "five_columns", [-1, 5])
    writer.constant("none", np.array(0, np.int64))
    writer.constant("one", np.array(1, np.int64))
    writer.number("half", 0.5)
    levels = []
    for stride, one in zip(STRIDES, maps, strict=True):
        name = f"cells.{stride}"
        parts = []
        for axis, shape, picks in ((2, column, picks_y), (3, row, picks_x)):
            middles = _middles(writer, one, axis, stride, name=f"{name}.axis.{axis}")
            middles = writer.node("Reshape", middles, shape, name=f"{name}.along.{axis}")
            parts.append(writer.node("Mul", middles, picks, name=f"{name}.spread.{axis}"))
        parts.append(_values(writer, f"{name}.stride", [0, 0, 0, 0, stride]))
        levels.append(writer.node("Reshape", writer.node("Sum", *parts, name=name), columns, name=f"{name}.rows"))
    return writer.node("Concat", *levels, name="cells", axis=0)


def _middles(writer: GraphWriter, source: str, axis: int, stride: int, *, name: str) -> str:
    """Middles of the cells of a feature map along an axis, in pixels."""
    size = writer.node("Shape", source, name=f"{name}.size", start=axis, end=axis + 1)
    size = writer.node("Squeeze", size, name=f"{name}.count")
    places = writer.node("Range", "none", size, "one", name=f"{name}.places")
    places = writer.node("Cast", places, name=f"{name}.numbers", to=TensorProto.FLOAT)
    places = writer.node("Add", places, "half", name=f"{name}.middles")
    return writer.node("Mul", places, writer.number(f"{name}.stride", stride), name=f"{name}.pixels")


def _limits(writer: GraphWriter, image: str) -> str:
    """Width, height, width and height of the picture."""
    size = writer.node("Shape", image, name="size", start=2, end=4)
    size = writer.node("Cast", size, name="size_in_pixels", to=TensorProto.FLOAT)
    return writer.node("Gather", size, _whole(writer, "width_first", [1, 0, 1, 0]), name="limits")


def _whole(writer: GraphWriter, name: str, numbers: Sequence[int]) -> str:
    return writer.constant(name, np.array(numbers, np.int64))


def _values(writer: GraphWriter, name: str, numbers: Sequence[float]) -> str:
    return writer.constant(name, np.array(numbers, np.float32))
