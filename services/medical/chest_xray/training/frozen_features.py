"""Features of a network that is never trained here: ImageNet's EfficientNet-Lite0, or the same with random weights.

They come out of the graph of the released classifier `imagenet-lite0`, cut after some of its stages, with a film of any
size as input. A film (n, 1, H, W) in [0, 1] is repeated to RGB and normalised as that network wants it,
(x 255 - 127) / 128. H and W are multiples of 32, for which the graph's paddings are those of TensorFlow's SAME.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.declarations import SERVICES
from shared.runtime.cards import read_card, read_weights
from shared.runtime.models.registry import newest_folder
from shared.runtime.session_options import session_options

BACKBONE: Final = "imagenet-lite0"
STAGES: Final = (
    "_blocks.0._project_conv",
    "_blocks.2.sum",
    "_blocks.4.sum",
    "_blocks.7.sum",
    "_blocks.10.sum",
    "_blocks.14.sum",
    "_blocks.15._project_conv",
)
"""Outputs of the seven stages."""

CHANNELS: Final = (16, 24, 40, 80, 112, 192, 320)
STRIDES: Final = (2, 4, 8, 16, 16, 32, 32)
_BATCH: Final = 8

Films = NDArray[np.float32]
"""(n, H, W) in [0, 1], as `prepare_film` gives them."""
Features = NDArray[np.float32]
"""(n, features)."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """What is made of the output of one stage: means over the cells of a grid, channel by channel, then cells by rows.

    Attributes:
        stage: index in `STAGES`.
        rows, columns: of the grid; they divide the height and the width of the stage's output. 1 by 1 is the mean over
            the whole film.
    """

    stage: int
    rows: int = 1
    columns: int = 1


WHOLE: Final = tuple(Pooling(stage) for stage in range(len(STAGES)))
"""784 features: the mean of each channel of each stage over the film."""


def read_backbone() -> onnx.ModelProto:
    """The released classifier of ImageNet's classes; its digest is compared with its card's."""
    folder = newest_folder(SERVICES / "perception" / "models", BACKBONE)
    return onnx.load_model_from_string(read_weights(folder, read_card(folder)))


def feature_graph(backbone: onnx.ModelProto, size: tuple[int, int], poolings: Sequence[Pooling]) -> onnx.ModelProto:
    """A graph from `film` float32 (n, 1, H, W) to `features` float32 (n, features).

    Args:
        backbone: what `read_backbone` gives, or what `randomise` makes of it.
        size: H and W, multiples of 32.
        poolings: features of the stages, one after the other.

    Raises:
        ValueError: a size or a grid that does not fit.
    """
    if any(side % STRIDES[-1] for side in size):
        raise ValueError(f"sides are multiples of {STRIDES[-1]}, not {size}")
    nodes = [helper.make_node("Concat", ["film"] * 3, [backbone.graph.input[0].name], axis=1)]
    nodes += _needed(backbone, [STAGES[one.stage] for one in poolings])
    parts = []
    for index, one in enumerate(poolings):
        rows, columns = (side // STRIDES[one.stage] for side in size)
        if rows % one.rows or columns % one.columns:
            raise ValueError(f"a grid of {one.rows} by {one.columns} does not divide {rows} by {columns}")
        cell = [rows // one.rows, columns // one.columns]
        pool, flat = f"pool.{index}", f"flat.{index}"
        nodes.append(
            helper.make_node("AveragePool", [STAGES[one.stage]], [pool], kernel_shape=cell, strides=cell, name=pool)
        )
        nodes.append(helper.make_node("Flatten", [pool], [flat], name=flat))
        parts.append(flat)
    nodes.append(helper.make_node("Concat", parts, ["features"], axis=1))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "frozen_features",
        [helper.make_tensor_value_info("film", TensorProto.FLOAT, ["n", 1, *size])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", None])],
        [one for one in backbone.graph.initializer if one.name in used],
    )
    return helper.make_model(graph, opset_imports=backbone.opset_import, ir_version=backbone.ir_version)


def _needed(model: onnx.ModelProto, outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """Nodes that outputs depend on, in the graph's order."""
    wanted, found = set(outputs), []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]


class FrozenFeatures:
    """Computes the features of a graph; a session of its own.

    Args:
        graph: of `feature_graph`.
        threads: of one run.
    """

    def __init__(self, graph: onnx.ModelProto, *, threads: int = 1) -> None:
        import onnxruntime

        options = session_options(threads, arena=True)
        self._session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, films: Films) -> Features:
        """Features of films, (n, features) float32."""
        parts = [
            self._session.run(None, {"film": films[start : start + _BATCH, None]})[0]
            for start in range(0, len(films), _BATCH)
        ]
        return np.concatenate(parts)


def randomise(backbone: onnx.ModelProto, films: Films, *, seed: int) -> onnx.ModelProto:
    """The same network with random weights: the floor that a trained one has to beat.

    Weights are normal, and biases zero; then each convolution is scaled, channel by channel, to mean 0 and variance 1
    on some films, one layer after the other. That is what batch normalisation of an untrained network does, and
    without it features of a deep one vanish. Labels play no part.

    Args:
        backbone: of `read_backbone`.
        films: (n, H, W), of the training split.
        seed: of the weights.
    """
    random = np.random.default_rng(seed)
    found = onnx.ModelProto()
    found.CopyFrom(backbone)
    values = {one.name: one for one in found.graph.initializer}
    convolutions = [node for node in found.graph.node if node.op_type == "Conv"]
    for node in convolutions:
        weight = values[f"{node.input[1]}_half"]
        shape = tuple(weight.dims)
        drawn = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        weight.CopyFrom(numpy_helper.from_array(drawn.astype(np.float16), weight.name))
        _set(values[f"{node.input[2]}_half"], np.zeros(shape[0]))
    for node in convolutions:
        if node.output[0] == "_conv_head":  # after all stages
            break
        seen = _outputs(found, node.output[0], films)
        mean, deviation = seen.mean(axis=(0, 2, 3)), seen.std(axis=(0, 2, 3)) + 1e-6
        weight = values[f"{node.input[1]}_half"]
        _set(weight, numpy_helper.to_array(weight).astype(np.float64) / deviation[:, None, None, None])
        _set(values[f"{node.input[2]}_half"], -mean / deviation)
    return found


def _set(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _outputs(model: onnx.ModelProto, name: str, films: Films) -> NDArray[np.float32]:
    import onnxruntime

    nodes = _needed(model, [name])
    source = model.graph.input[0].name
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["n", 3, *films.shape[1:]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        [one for one in model.graph.initializer if one.name in {each for node in nodes for each in node.input}],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = session_options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it runs once
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {source: np.repeat(films[:, None], 3, axis=1)})[0]
    return found
