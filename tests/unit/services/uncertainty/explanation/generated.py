"""Classifiers drawn at random: as an ONNX file in one of its many spellings, and as the network that it means.

The second is what the naive reference computes with, loops in double precision; nothing of `reading` is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.uncertainty.explanation.networks.graph import (
    Branch,
    Convolution,
    Head,
    Junction,
    MaxPool,
    Network,
    Sides,
    Size,
)

Choose = Callable[[list[Any]], Any]
"""Draws one of a list."""

CLASSES = 3


@dataclass
class Drawing:
    """A file and its meaning under construction.

    Attributes:
        choose: draws.
        random: weights.
        opset: of the file.
        half: whether it is in half precision.
    """

    choose: Choose
    random: np.random.Generator
    opset: int
    half: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    junctions: list[Junction] = field(default_factory=list)
    sizes: dict[str, Size] = field(default_factory=dict)
    count: int = 0

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self.count += 1
        # Some names that the explanation itself uses.
        name = self.choose(["target", "relevance", "explained"]) if self.count == 4 else f"t{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def store(self, value: NDArray[Any]) -> str:
        self.count += 1
        floating = value.dtype.kind == "f"
        kind = (np.float16 if self.half else np.float32) if floating else np.int64
        name = f"c{self.count}"
        self.weights.append(numpy_helper.from_array(value.astype(kind), name))
        return self.node("Identity", name) if floating and self.choose([False, False, True]) else name

    def numbers(self, *shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        """Weights that half precision holds too."""
        return (self.random.normal(0, scale, shape)).astype(np.float16).astype(np.float32)

    def convolution(self, source: str, channels: tuple[int, int], size: Size) -> tuple[str, Convolution, Size]:
        """A convolution with its bias inside, added behind, or by batch normalisation."""
        inputs, outputs = channels
        kernel, stride = self.choose([1, 2, 3]), self.choose([1, 1, 2])
        kernel = min(kernel, *size)
        groups = self.choose([each for each in (1, 1, 2, 3, 4) if inputs % each == outputs % each == 0])
        weight = self.numbers(outputs, inputs // groups, kernel, kernel, scale=(inputs // groups * kernel**2) ** -0.5)
        padding, attributes = self.padding(kernel, stride, size)
        if groups > 1 or self.choose([False, True]):
            attributes["group"] = groups
        if self.choose([False, True]):
            attributes["dilations"] = [1, 1]
        bias = self.numbers(outputs, scale=0.3)
        how = self.choose(["none", "inside", "behind", "norm"])
        inside = [self.store(bias)] if how == "inside" else []
        if attributes.get("pads") and self.choose([False, False, True]):
            source = self.pad(source, attributes.pop("pads"))
        out = self.node("Conv", source, self.store(weight), *inside, **attributes)
        if how == "behind":
            pair = [out, self.store(bias[:, None, None])]
            out = self.node("Add", *(pair if self.choose([False, True]) else pair[::-1]))
        if how == "norm":
            out, weight, bias = self.normalise(out, weight)
        bias = np.zeros(outputs, np.float32) if how == "none" else bias
        found = Convolution(weight, bias, stride=stride, padding=padding, groups=groups)
        return out, found, found.size(size)

    def pad(self, source: str, sides: list[int]) -> str:
        """The zeros as a node of their own."""
        above, left, below, right = sides
        if self.opset >= 18 and self.choose([False, True]):
            amounts, axes = np.array([left, above, right, below]), np.array([-1, 2])
            return self.node("Pad", source, self.store(amounts), "", self.store(axes))
        zero = [self.store(np.array(0.0))] if self.choose([False, True]) else []
        return self.node("Pad", source, self.store(np.array([0, 0, above, left, 0, 0, below, right])), *zero)

    def padding(self, kernel: int, stride: int, size: Size) -> tuple[Sides, dict[str, Any]]:
        """Zeros above, left, below and right, and the attributes that say so, with those of the stride."""
        how = self.choose(["alike", "alike", "each", "same", "none"])
        steps: dict[str, Any] = {"strides": [stride, stride]}
        if how == "none":
            return (0, 0, 0, 0), steps | {"auto_pad": "VALID"}
        if how == "alike":
            same = self.choose(list(range(kernel)))
            return (same, same, same, same), steps | {"pads": [same] * 4}
        if how == "each":
            above, left, below, right = (self.choose(list(range(kernel))) for _ in range(4))
            return (above, left, below, right), steps | {"pads": [above, left, below, right]}
        # As TensorFlow pads: ceil(n / s) places, the odd zero behind (or before, which only ONNX has).
        wanted = [max(((extent + stride - 1) // stride - 1) * stride + kernel - extent, 0) for extent in size]
        less, more = [total // 2 for total in wanted], [(total + 1) // 2 for total in wanted]
        lower = self.choose([False, True])
        before, behind = (more, less) if lower else (less, more)
        spelled: dict[str, Any] = {"auto_pad": "SAME_LOWER" if lower else "SAME_UPPER"}
        if self.choose([False, True]):
            spelled = {"pads": [*before, *behind]}
        return (before[0], before[1], behind[0], behind[1]), steps | spelled

    def normalise(self, out: str, weight: NDArray[Any]) -> tuple[str, NDArray[Any], NDArray[Any]]:
        outputs = len(weight)
        scale, shift, mean = (self.numbers(outputs, scale=0.5) for _ in range(3))
        variance = (np.abs(self.numbers(outputs)) + 0.5).astype(np.float16).astype(np.float32)
        epsilon = self.choose([1e-5, 1e-2])
        names = [self.store(value) for value in (scale, shift, mean, variance)]
        factor = scale / np.sqrt(variance + epsilon)
        folded = (weight * factor[:, None, None, None]).astype(np.float32)
        bias = (shift - mean * factor).astype(np.float32)
        return self.node("BatchNormalization", out, *names, epsilon=epsilon), folded, bias

    def join(self, out: str, branches: list[Branch], size: Size) -> str:
        """End a sum, mostly with a ReLU, which may have a ceiling."""
        if self.choose([False, False, True]):
            out = self.node("Identity", out) if self.choose([False, True]) else self.dropout(out)
        kind = self.choose(["Relu", "Relu", "Clip", "Clip", "none"])
        ceiling: float | None = None
        rectified = out
        if kind == "Relu":
            rectified = self.node("Relu", out)
        elif kind == "Clip":
            ceiling = self.choose([6.0, 1.0, 0.25, None])
            bounds = [0.0] if ceiling is None else [0.0, ceiling]
            rectified = self.node("Clip", out, *(self.store(np.array(bound)) for bound in bounds))
        self.junctions.append(Junction(out, rectified, tuple(branches), ceiling))
        self.sizes[rectified] = size
        return rectified

    def dropout(self, out: str) -> str:
        return self.node("Dropout", out) if self.opset >= 12 else self.node("Dropout", out, ratio=0.3)


def draw(choose: Choose, seed: int) -> tuple[onnx.ModelProto, Network]:
    """One classifier, 3 channels of 5 to 7 pixels a side."""
    opset = choose([11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23])
    drawing = Drawing(choose, np.random.default_rng(seed), opset, choose([False, False, False, True]))
    size: Size = (choose([5, 6, 7]), choose([5, 6]))
    drawing.sizes["pictures"] = size
    source, channels, beginning = "pictures", 3, size
    for _ in range(choose([1, 2, 3])):
        source, channels, size = _block(drawing, source, channels, size)
    head = _head(drawing, source, channels, size)
    kind = TensorProto.FLOAT16 if drawing.half else TensorProto.FLOAT
    batch = choose(["batch", 1])
    graph = helper.make_graph(
        drawing.nodes,
        "drawn",
        [helper.make_tensor_value_info("pictures", kind, [batch, 3, *beginning])],
        [helper.make_tensor_value_info(head.logits, kind, [batch, CLASSES])],
        drawing.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model, Network("pictures", drawing.sizes, tuple(drawing.junctions), head)


def _block(drawing: Drawing, source: str, channels: int, size: Size) -> tuple[str, int, Size]:
    kind = drawing.choose(["plain", "depthwise", "residual", "pooled", "pooled shortcut", "average"])
    rectified = any(junction.output == source and junction.rectified for junction in drawing.junctions)
    if kind == "residual":
        out, shared = _same(drawing, source, channels, size)
        pair = [out, source]
        total = drawing.node(drawing.choose(["Add", "Sum"]), *(pair if drawing.choose([True, False]) else pair[::-1]))
        return drawing.join(total, [Branch(source, shared), Branch(source)], size), channels, size
    if kind == "average" and min(size) >= 4:
        kernel = drawing.choose([2, 3])
        out = drawing.node("AveragePool", source, kernel_shape=[kernel, kernel], strides=[1, 1])
        weight = np.eye(channels, dtype=np.float32)[:, :, None, None] * np.ones((1, 1, kernel, kernel), np.float32)
        mean = Convolution((weight / kernel**2).astype(np.float32), np.zeros(channels, np.float32))
        small = mean.size(size)
        return drawing.join(out, [Branch(source, mean)], small), channels, small
    pool = None
    read, below = source, size
    if kind.startswith("pooled") and rectified and min(size) >= 3:
        read, pool, below = _pool(drawing, source, size)
    if kind == "pooled shortcut" and pool is not None:
        out, shared = _same(drawing, read, channels, below)
        total = drawing.node("Add", out, read)
        alike = Convolution(np.eye(channels, dtype=np.float32)[:, :, None, None], np.zeros(channels, np.float32))
        branches = [Branch(source, shared, pool), Branch(source, alike, pool)]
        return drawing.join(total, branches, below), channels, below
    outputs = channels * drawing.choose([1, 2]) if kind == "depthwise" and channels <= 4 else drawing.choose([2, 4])
    out, convolution, behind = drawing.convolution(read, (channels, outputs), below)
    return drawing.join(out, [Branch(source, convolution, pool)], behind), outputs, behind


def _pool(drawing: Drawing, source: str, size: Size) -> tuple[str, MaxPool, Size]:
    pool = MaxPool(drawing.choose([2, 3]), drawing.choose([1, 2]), drawing.choose([0, 1]))
    attributes: dict[str, Any] = {"kernel_shape": [pool.kernel] * 2, "strides": [pool.stride] * 2}
    attributes["pads"] = [pool.padding] * 4
    if drawing.choose([False, True]):
        attributes |= {"dilations": [1, 1], "storage_order": 0, "ceil_mode": 0}
    return drawing.node("MaxPool", source, **attributes), pool, pool.size(size)


def _same(drawing: Drawing, source: str, channels: int, size: Size) -> tuple[str, Convolution]:
    """A convolution of 3 x 3 that changes neither size nor channels."""
    weight, bias = drawing.numbers(channels, channels, 3, 3, scale=0.3), drawing.numbers(channels, scale=0.3)
    out = drawing.node("Conv", source, drawing.store(weight), drawing.store(bias), pads=[1, 1, 1, 1])
    return out, Convolution(weight, bias, padding=(1, 1))


def _head(drawing: Drawing, source: str, channels: int, size: Size) -> Head:
    weight, bias = drawing.numbers(CLASSES, channels), drawing.numbers(CLASSES, scale=0.5)
    how = drawing.choose(["GlobalAveragePool", "AveragePool", "ReduceMean"])
    if how == "ReduceMean":
        axes = drawing.choose([[2, 3], [-1, -2]])
        given = ([drawing.store(np.array(axes))], {}) if drawing.opset >= 18 else ([], {"axes": axes})
        row = drawing.node("ReduceMean", source, *given[0], keepdims=0, **given[1])
    else:
        whole = {"kernel_shape": list(size)} if how == "AveragePool" else {}
        pooled = drawing.node(how, source, **whole)
        row = _flatten(drawing, pooled, channels)
    spelling = drawing.choose(["turned", "plain", "scaled", "MatMul", "one bias"])
    if spelling == "MatMul":
        product = drawing.node("MatMul", row, drawing.store(weight.T))
        pair = [product, drawing.store(bias[None] if drawing.choose([True, False]) else bias)]
        logits = drawing.node("Add", *(pair if drawing.choose([True, False]) else pair[::-1]))
    elif spelling == "scaled":
        names = drawing.store(weight), drawing.store(bias)
        logits = drawing.node("Gemm", row, *names, transB=1, alpha=0.5, beta=2.0)
        weight, bias = (weight / 2).astype(np.float32), (bias * 2).astype(np.float32)
    elif spelling == "one bias":
        bias = bias[:1]
        stored = drawing.store(bias if drawing.choose([True, False]) else bias[0])
        logits = drawing.node("Gemm", row, drawing.store(weight), stored, transB=1)
        bias = np.repeat(bias, CLASSES)
    else:
        turned = spelling == "turned"
        names = drawing.store(weight if turned else weight.T), drawing.store(bias)
        logits = drawing.node("Gemm", row, *names, transB=int(turned))
    if logits in {"target", "relevance", "explained"}:
        logits = drawing.node("Identity", logits)
    return Head(source, weight.astype(np.float32), bias.astype(np.float32), logits)


def _flatten(drawing: Drawing, pooled: str, channels: int) -> str:
    how = drawing.choose(["Flatten", "Flatten from behind", "Reshape", "Squeeze"])
    if how == "Reshape":
        shape = drawing.choose([[-1, channels], [0, -1], [0, channels]])
        return drawing.node("Reshape", pooled, drawing.store(np.array(shape)))
    if how == "Squeeze":
        axes = [2, 3]
        if drawing.opset >= 13:
            return drawing.node("Squeeze", pooled, drawing.store(np.array(axes)))
        return drawing.node("Squeeze", pooled, axes=axes)
    return drawing.node("Flatten", pooled, axis=1 if how == "Flatten" else -3)
