"""The layers of NanoDet-g as nodes of an ONNX graph.

After the architecture that its author published (RangiLyu/nanodet, config/nanodet-g.yml, and the modules that it
names): a cross-stage-partial backbone, a path aggregation network without convolutions, and a head for each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from services.perception.detection.training.nanodet.published import Convolution
from services.perception.training.graphs import GraphWriter

STRIDES: Final = (8, 16, 32)
CLASSES: Final = 80
STEPS: Final = 11
"""Distances from 0 to 10 strides, over which an edge has a distribution."""

_SLOPE: Final = 0.1
_STAGES: Final = ((1, 1), (2, 2), (2, 2), (3, 2))
"""Blocks and stride of the four stages of the backbone."""

_LATERALS: Final = 25
_HEADS: Final = 28
"""Numbers of the first convolution between backbone and pyramid, and of the first of the heads."""


class LayerWriter(GraphWriter):
    """Adds layers to a graph.

    Args:
        convolutions: the published ones, in their order.
        dtype: that weights are stored in, float16 or float32.
    """

    def __init__(self, convolutions: Sequence[Convolution], *, dtype: type[np.floating[Any]] = np.float16) -> None:
        super().__init__(dtype=dtype)
        self._convolutions = convolutions

    def convolution(self, source: str, number: int, *, stride: int = 1) -> str:
        """A convolution that keeps the size, but for its stride."""
        layer, name = self._convolutions[number], f"convolution.{number}"
        side = layer.kernel.shape[2]
        # The network was trained on blue, green, red.
        kernel = layer.kernel[:, ::-1] if number == 0 else layer.kernel
        stored = self.store(f"{name}.weight", kernel), self.store(f"{name}.bias", layer.bias)
        geometry = {"kernel_shape": [side, side], "pads": [side // 2] * 4, "strides": [stride, stride]}
        return self.node("Conv", source, *stored, name=name, **geometry)

    def activated(self, source: str, number: int, *, stride: int = 1) -> str:
        """A convolution and its activation."""
        found = self.convolution(source, number, stride=stride)
        return self.node("LeakyRelu", found, name=f"{found}.active", alpha=_SLOPE)

    def stage(self, source: str, first: int, *, blocks: int, stride: int) -> str:
        """A stage whose convolutions are numbered from `first` on: one, two for each block, and one."""
        begin = found = self.activated(source, first, stride=stride)
        for block in range(blocks):
            before = self.activated(found, first + 1 + 2 * block)
            after = self.activated(before, first + 2 + 2 * block)
            found = self.node("Concat", after, before, name=f"stage.{first}.block.{block}", axis=1)
        found = self.activated(found, first + 1 + 2 * blocks)
        return self.node("Concat", found, begin, name=f"stage.{first}", axis=1)

    def backbone(self, source: str) -> list[str]:
        """Feature maps of strides 8, 16 and 32."""
        found = self.activated(source, 0, stride=2)
        found = self.node("MaxPool", found, name="pooled", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
        maps, number = [], 1
        for blocks, stride in _STAGES:
            found = self.stage(found, number, blocks=blocks, stride=stride)
            maps.append(found)
            number += 2 + 2 * blocks
        return maps[1:]

    def pyramid(self, maps: Sequence[str]) -> list[str]:
        """The same strides with 128 channels, after the deeper maps went down to the finer ones and these up again."""
        found = [self.convolution(one, _LATERALS + level) for level, one in enumerate(maps)]
        twofold = self.constant("twofold", np.array([1, 1, 2, 2], np.float32))
        for level in (1, 0):
            wider = self.node("Resize", found[level + 1], "", twofold, name=f"wider.{level}", mode="linear")
            found[level] = self.node("Add", found[level], wider, name=f"down.{level}")
        halved = {"kernel_shape": [2, 2], "strides": [2, 2]}
        for level in (1, 2):
            # What bilinear scaling to half the size is: each point lies amid four.
            narrower = self.node("AveragePool", found[level - 1], name=f"narrower.{level}", **halved)
            found[level] = self.node("Add", found[level], narrower, name=f"up.{level}")
        return found

    def heads(self, maps: Sequence[str]) -> str:
        """What is said of the cells of all levels, the finest first and row by row, (cells, 80 + 4 * 11).

        Logits of the classes, then those of the distances from the middle of the cell to the left, top, right and
        bottom edge.
        """
        shape = self.constant("row_of_cell", np.array([-1, CLASSES + 4 * STEPS], np.int64))
        rows = []
        for level, one in enumerate(maps):
            number = _HEADS + 2 * level
            found = self.convolution(self.activated(one, number), number + 1)
            found = self.node("Transpose", found, name=f"level.{level}", perm=[0, 2, 3, 1])
            rows.append(self.node("Reshape", found, shape, name=f"level.{level}.cells"))
        return self.node("Concat", *rows, name="heads", axis=0)
