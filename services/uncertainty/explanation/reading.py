"""From an ONNX file to a `Network`, or the list of what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from services.uncertainty.explanation.attributes import padding_of, read_attributes, same_steps
from services.uncertainty.explanation.graph import (
    Branch,
    Convolution,
    Head,
    Junction,
    MaxPool,
    Network,
    Size,
    UnsupportedNetwork,
    UnsupportedNode,
)

_FOLDED: Final = frozenset(
    {"Add", "Cast", "Concat", "Constant", "Div", "Identity", "Mul", "Neg", "Reshape", "Sqrt", "Squeeze", "Sub"}
    | {"Transpose", "Unsqueeze"}
)
"""Operations that are computed here where all that they read is constant; none makes much out of little."""

_MOST_POOLED_CHANNELS: Final = 1024
"""Of a pooling that becomes a convolution, whose weights grow with the square."""


@dataclass(frozen=True, slots=True)
class _Feature:
    """A tensor whose positions have a relevance."""

    name: str
    pool: MaxPool | None = None


@dataclass(frozen=True, slots=True)
class _Sum:
    """A pre-activation that may still grow by further branches."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class _Pooled:
    """The mean over the positions of a feature map."""

    source: str


@dataclass(frozen=True, slots=True)
class _Flattened:
    """All values of a feature map in one row: what a linear layer reads is a convolution over the whole map."""

    source: str


@dataclass(frozen=True, slots=True)
class _Scores:
    """Logits."""

    head: Head


_Meaning = _Feature | _Sum | _Pooled | _Flattened | _Scores


def read_network(model: onnx.ModelProto) -> Network:
    """What the decomposition sees of a classifier.

    Args:
        model: as `prepared` leaves it: one input (batch, channels, height, width) of fixed height and width, one output
            (batch, classes), normalisation by constants, convolutions, batch normalisation, ReLU, maximum pooling of
            what a ReLU answered, average pooling, additions, and either global average pooling and a linear layer, or
            linear layers with ReLU between them.

    Raises:
        UnsupportedNetwork: names every node that is something else.
    """
    return _Reader(shape_inference.infer_shapes(model, data_prop=True).graph).read()


class _Reader:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        # Copies, as arrays that share the file's memory cannot be written to, which torch warns of.
        self.constants: dict[str, NDArray[Any]] = {
            item.name: np.array(numpy_helper.to_array(item)) for item in graph.initializer
        }
        self.meanings: dict[str, _Meaning] = {}
        self.junctions: dict[str, Junction] = {}
        self.shapes = _shapes(graph)
        self.flat: set[str] = set()
        self.input = ""
        self.readers: Mapping[str, Any] = {
            "Add": self._add,
            "AveragePool": self._average_pool,
            "BatchNormalization": self._batch_normalization,
            "Cast": self._pass_on,
            "Conv": self._convolution,
            "Dropout": self._pass_on,
            "Flatten": self._reshape,
            "Gemm": self._linear,
            "GlobalAveragePool": self._average,
            "Identity": self._pass_on,
            "MatMul": self._linear,
            "MaxPool": self._max_pool,
            "ReduceMean": self._average,
            "Relu": self._rectify,
            "Reshape": self._reshape,
            "Shape": lambda _: None,
            "Squeeze": self._reshape,
            "Sum": self._add,
        }

    def read(self) -> Network:
        inputs = [item.name for item in self.graph.input if item.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise UnsupportedNetwork(["a network that has not one input and one output"])
        self.input = inputs[0]
        faults = [fault for node in self.graph.node if (fault := self._node(node))]
        if faults:
            raise UnsupportedNetwork(faults)
        head = self._head(self.graph.output[0].name)
        names = [self.input, *(name for junction in self.junctions.values() for name in (junction.output,))]
        sizes = {name: size for name in names if (size := self._size(name)) is not None}
        if missing := [name for name in names if name not in sizes]:
            raise UnsupportedNetwork([f"feature maps without a fixed height and width ({', '.join(missing)})"])
        return Network(self.input, sizes, tuple(self.junctions.values()), head, frozenset(self.flat))

    def _head(self, output: str) -> Head:
        """What makes the logits: behind global average pooling, or the last of the linear layers."""
        result = self.meanings.get(output)
        if isinstance(result, _Sum) and len(result.branches) == 1:
            (branch,) = result.branches
            convolution = branch.convolution
            if convolution is not None and branch.source in self.flat and branch.pool is None:
                return Head(branch.source, convolution.weight[:, :, 0, 0], convolution.bias, output)
            if convolution is not None and len(self.shapes.get(output, ())) == 2:
                raise UnsupportedNetwork(
                    ["a feature map that is reshaped before global average pooling and read by the last linear layer"]
                )
        if not isinstance(result, _Scores):
            raise UnsupportedNetwork(["a network that does not end in global average pooling and a linear layer"])
        return replace(result.head, logits=output)

    def _node(self, node: onnx.NodeProto) -> str | None:
        """Take one node in; what is wrong with it, if anything is."""
        name = f"{node.op_type} {node.name or node.output[0]}"
        if node.domain not in {"", "ai.onnx"}:
            return f"{name}: an operation of {node.domain}"
        try:
            if self._fold(node):
                return None
            if self._normalises(node):
                self.input = node.output[0]
                return None
            if not any(self._known(each) for each in node.input):
                return None  # what comes of a node that was refused, or of the shape of something
            reader = self.readers.get(node.op_type)
            if reader is None:
                raise UnsupportedNode("an operation without a rule")
            reader(node)
        except UnsupportedNode as fault:
            return f"{name}: {fault}"
        return None

    def _fold(self, node: onnx.NodeProto) -> bool:
        """Compute a node of constants, such as weights that an exporter passes through Identity."""
        if node.op_type not in _FOLDED or not all(name in self.constants or not name for name in node.input):
            return False
        given = {name: self.constants[name] for name in node.input if name}
        try:
            values = ReferenceEvaluator(node).run(None, given)
        except Exception:  # whatever the reference makes of attributes that do not fit
            raise UnsupportedNode("a constant that cannot be computed") from None
        self.constants |= {name: np.array(value) for name, value in zip(node.output, values, strict=True) if name}
        return True

    def _normalises(self, node: onnx.NodeProto) -> bool:
        """Whether it is a step of the normalisation, which is before the first vector that is decomposed.

        Only steps that keep straight lines straight: integrated gradients follows one.
        """
        if self.meanings or self.input not in node.input or len(node.output) != 1:
            return False
        if node.op_type in {"Cast", "Identity"}:
            self._pass_on(node, check_only=True)
            return True
        others = [name for name in node.input if name != self.input]
        if node.op_type not in {"Add", "Sub", "Mul", "Div"} or len(others) != 1 or others[0] not in self.constants:
            return False
        if node.op_type == "Div" and node.input[0] != self.input:
            return False
        return np.prod(self.constants[others[0]].shape[-2:]) == 1 or self._size(self.input) is not None

    def _size(self, name: str) -> Size | None:
        """Height and width of a tensor, as far as they are fixed; a row of values is a map of one position."""
        shape = self.shapes.get(name, ())
        if name in self.flat:
            return (1, 1)
        if len(shape) != 4 or shape[2] is None or shape[3] is None:
            return None
        return shape[2], shape[3]

    def _require_size(self, name: str) -> Size:
        size = self._size(name)
        if size is None:
            raise UnsupportedNode("a feature map without a fixed height and width")
        return size

    def _channels(self, name: str) -> int:
        shape = self.shapes.get(name, ())
        if len(shape) < 2 or shape[1] is None:
            raise UnsupportedNode("a feature map whose number of channels is not known")
        return shape[1]

    def _known(self, name: str) -> bool:
        return name in self.meanings or name == self.input

    def _meaning(self, name: str) -> _Meaning:
        if name == self.input:
            return _Feature(name)
        if name not in self.meanings:
            raise UnsupportedNode("one of its inputs is no feature map of the network")
        return self.meanings[name]

    def _feature(self, name: str, *, plain: bool = True) -> _Feature:
        """The tensor as one whose positions have a relevance; a sum ends here without a ReLU.

        Args:
            name: of the tensor.
            plain: whether a maximum pooling is a layer of its own, as it is where no convolution reads it.
        """
        meaning = self._meaning(name)
        if isinstance(meaning, _Feature) and meaning.pool is not None and plain:
            meaning = _Sum((self._pooled_branch(meaning),))
        if isinstance(meaning, _Sum):
            self._join(name, name, meaning)
            meaning = self.meanings[name] = _Feature(name)
        if isinstance(meaning, _Flattened):
            raise UnsupportedNode("a feature map is reshaped before global average pooling")
        if not isinstance(meaning, _Feature):
            raise UnsupportedNode("it follows the global pooling")
        return meaning

    def _join(self, name: str, output: str, total: _Sum) -> None:
        self.junctions[output] = Junction(name, output, total.branches)
        if len(self.shapes.get(name, ())) == 2:
            self.flat |= {name, output}

    def _pooled_branch(self, feature: _Feature) -> Branch:
        """A maximum pooling as a summand: one in front of a convolution that changes nothing."""
        return Branch(feature.name, _alike(self._channels(feature.name), (1, 1), 1.0), feature.pool)

    def _convolution(self, node: onnx.NodeProto) -> None:
        settings = read_attributes(
            node, auto_pad=b"NOTSET", dilations=[1, 1], group=1, kernel_shape=None, pads=None, strides=[1, 1]
        )
        if settings["group"] != 1:
            raise UnsupportedNode("grouped convolution")
        if any(step != 1 for step in settings["dilations"]):
            raise UnsupportedNode("dilated convolution")
        weight = self._weight(node.input[1])
        if weight.ndim != 4 or settings["kernel_shape"] not in (None, list(weight.shape[2:])):
            raise UnsupportedNode("a convolution that is not of height and width")
        source = self._feature(node.input[0], plain=False)
        below = self._require_size(source.name)
        below = below if source.pool is None else source.pool.size(below)
        stride = same_steps(settings["strides"])
        pads = padding_of(settings, weight.shape[2:], stride, below)
        if any(pad >= kernel for pad, kernel in zip(pads, weight.shape[2:], strict=True)):
            raise UnsupportedNode("padding that is not smaller than the kernel")
        bias = self._vector(node, 2, len(weight))
        convolution = Convolution(weight, bias, stride=stride, padding=pads)
        self._require_agreement(node.output[0], convolution.size(below))
        self.meanings[node.output[0]] = _Sum((Branch(source.name, convolution, source.pool),))

    def _require_agreement(self, name: str, size: Size) -> None:
        """That the size of what was read is the one that ONNX infers."""
        known = self._size(name)
        if min(size) < 1 or (known is not None and known != size):
            raise UnsupportedNode(f"its answer is {known} and not {size} by its kernel, strides and padding")

    def _batch_normalization(self, node: onnx.NodeProto) -> None:
        settings = read_attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0)
        if settings["training_mode"] or len(node.output) > 1:
            raise UnsupportedNode("batch normalisation in training mode; export the model for inference")
        meaning = self._meaning(node.input[0])
        if not isinstance(meaning, _Sum) or len(meaning.branches) != 1 or meaning.branches[0].convolution is None:
            raise UnsupportedNode("batch normalisation that does not follow a convolution")
        (branch,), plain = meaning.branches, meaning.branches[0].convolution
        scale, shift, mean, variance = (self._vector(node, place, len(plain.bias)) for place in range(1, 5))
        with np.errstate(invalid="ignore", divide="ignore"):  # judged right after
            factor = scale / np.sqrt(variance + settings["epsilon"])
        folded = replace(
            plain,
            weight=_finite(plain.weight * factor[:, None, None, None]),
            bias=_finite(shift + (plain.bias - mean) * factor),
        )
        self.meanings[node.output[0]] = _Sum((replace(branch, convolution=folded),))

    def _rectify(self, node: onnx.NodeProto) -> None:
        read_attributes(node)
        meaning = self._meaning(node.input[0])
        if not isinstance(meaning, _Sum):
            raise UnsupportedNode("a ReLU that does not follow a convolution or an addition")
        self._join(node.input[0], node.output[0], meaning)
        self.meanings[node.output[0]] = _Feature(node.output[0])

    def _add(self, node: onnx.NodeProto) -> None:
        read_attributes(node)
        constants = [name for name in node.input if name in self.constants]
        others = [name for name in node.input if name not in self.constants]
        meanings = [self._meaning(name) for name in others]
        if constants:
            if len(others) != 1 or len(constants) != 1:
                raise UnsupportedNode("an addition of several constants")
            self.meanings[node.output[0]] = self._with_constant(meanings[0], self.constants[constants[0]])
            return
        shapes = {self.shapes.get(name, ())[1:] for name in others}
        if len(shapes) != 1 or None in next(iter(shapes)) or not next(iter(shapes)):
            raise UnsupportedNode("an addition of feature maps whose shapes differ or are not known")
        branches: tuple[Branch, ...] = ()
        for meaning in meanings:
            branches += self._summands(meaning)
        self.meanings[node.output[0]] = _Sum(branches)

    def _summands(self, meaning: _Meaning) -> tuple[Branch, ...]:
        if isinstance(meaning, _Sum):
            return meaning.branches
        if not isinstance(meaning, _Feature):
            raise UnsupportedNode("an addition of something else than convolutions and feature maps")
        return (Branch(meaning.name),) if meaning.pool is None else (self._pooled_branch(meaning),)

    def _with_constant(self, meaning: _Meaning, constant: NDArray[Any]) -> _Meaning:
        """A bias that stands as an addition of its own."""
        if isinstance(meaning, _Scores):
            bias = meaning.head.bias
            return _Scores(replace(meaning.head, bias=_finite(bias + _row(constant, len(bias)))))
        convolution = meaning.branches[0].convolution if isinstance(meaning, _Sum) else None
        if not isinstance(meaning, _Sum) or len(meaning.branches) != 1 or convolution is None:
            raise UnsupportedNode("a constant is added to something else than one convolution or linear layer")
        flat = constant
        if not (flat.ndim <= 2 and meaning.branches[0].source in self.flat) and flat.size > 1:
            if flat.ndim < 3 or flat.shape[-2:] != (1, 1):
                raise UnsupportedNode("a constant that differs between positions is added")
            flat = flat[..., 0, 0]
        folded = replace(convolution, bias=_finite(convolution.bias + _row(flat, len(convolution.bias))))
        return _Sum((replace(meaning.branches[0], convolution=folded),))

    def _max_pool(self, node: onnx.NodeProto) -> None:
        settings = read_attributes(
            node, auto_pad=b"NOTSET", ceil_mode=0, dilations=[1, 1], kernel_shape=None, pads=None, storage_order=0,
            strides=[1, 1],
        )  # fmt: skip
        kernel = settings["kernel_shape"]
        if len(kernel) != 2 or len({*kernel}) != 1:
            raise UnsupportedNode("windows that are not square")
        if any(step != 1 for step in settings["dilations"]):
            raise UnsupportedNode("dilated windows")
        if len([name for name in node.output if name]) > 1:
            raise UnsupportedNode("the places of the maxima are an output")
        source = self._feature(node.input[0])
        if not self._never_negative(source.name):
            raise UnsupportedNode("maximum pooling of something else than the output of a ReLU")
        below, stride = self._require_size(source.name), same_steps(settings["strides"])
        pads = padding_of(settings, kernel, stride, below)
        if pads[0] != pads[1] or pads[0] >= kernel[0]:
            raise UnsupportedNode("padding that differs between sides, or is not smaller than the window")
        pool = MaxPool(kernel[0], stride, pads[0])
        self._require_agreement(node.output[0], pool.size(below))
        self.meanings[node.output[0]] = _Feature(source.name, pool)

    def _never_negative(self, name: str) -> bool:
        """Whether it is what a ReLU answered, or its maximum pooling, so that zeros around it change nothing."""
        junction = self.junctions.get(name)
        if junction is None:
            return False
        pooled = len(junction.branches) == 1 and junction.branches[0].pool is not None
        return junction.rectified or (pooled and _is_alike(junction.branches[0].convolution))

    def _average(self, node: onnx.NodeProto) -> None:
        if node.op_type == "ReduceMean":
            settings = read_attributes(node, axes=None, keepdims=1, noop_with_empty_axes=0)
            axes = self._constant(node.input[1]).ravel().tolist() if len(node.input) > 1 else settings["axes"]
            if sorted(int(axis) % 4 for axis in axes or []) != [2, 3]:
                raise UnsupportedNode("a mean over something else than height and width")
        else:
            read_attributes(node)
        self.meanings[node.output[0]] = _Pooled(self._feature(node.input[0]).name)

    def _average_pool(self, node: onnx.NodeProto) -> None:
        """Over the whole map it is global; else a convolution whose taps all weigh the same."""
        settings = read_attributes(
            node, auto_pad=b"NOTSET", ceil_mode=0, count_include_pad=0, dilations=[1, 1], kernel_shape=None, pads=None,
            strides=[1, 1],
        )  # fmt: skip
        kernel = tuple(settings["kernel_shape"])
        if len(kernel) != 2 or any(step != 1 for step in settings["dilations"]):
            raise UnsupportedNode("dilated windows, or of another number of axes")
        source = self._feature(node.input[0])
        below, stride = self._require_size(source.name), settings["strides"]
        pads = padding_of(settings, kernel, max(stride), below)
        if pads != (0, 0) and not settings["count_include_pad"]:
            raise UnsupportedNode("average pooling that does not count its padding")
        if kernel == below and pads == (0, 0):
            self.meanings[node.output[0]] = _Pooled(source.name)
            return
        channels = self._channels(source.name)
        if channels > _MOST_POOLED_CHANNELS or any(pad >= side for pad, side in zip(pads, kernel, strict=True)):
            raise UnsupportedNode(f"average pooling of more than {_MOST_POOLED_CHANNELS} channels, or of padding alone")
        weight = _alike(channels, kernel, 1 / (kernel[0] * kernel[1]))
        convolution = replace(weight, stride=same_steps(stride), padding=pads)
        self._require_agreement(node.output[0], convolution.size(below))
        self.meanings[node.output[0]] = _Sum((Branch(source.name, convolution),))

    def _linear(self, node: onnx.NodeProto) -> None:
        settings = read_attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
        source = self._meaning(node.input[0])
        if settings["transA"]:
            raise UnsupportedNode("a linear layer of something turned")
        weight = self._weight(node.input[1])
        if weight.ndim != 2:
            raise UnsupportedNode("a linear layer whose weights are no matrix")
        weight = _finite(settings["alpha"] * (weight if settings["transB"] else weight.T))
        bias = np.zeros(len(weight), np.float32)
        if len(node.input) > 2 and node.input[2]:
            bias = _finite(settings["beta"] * _row(self._constant(node.input[2]), len(weight)))
        if isinstance(source, _Pooled):
            self._require_columns(weight, self._channels(source.source))
            self.meanings[node.output[0]] = _Scores(Head(source.source, weight, bias, node.output[0]))
            return
        self.meanings[node.output[0]] = _Sum((self._linear_branch(node.input[0], weight, bias),))

    def _linear_branch(self, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Branch:
        meaning = self._meaning(name)
        if isinstance(meaning, _Sum) and len(self.shapes.get(name, ())) == 2:
            meaning = self._feature(name)
        if isinstance(meaning, _Feature) and meaning.name in self.flat:
            source, size = meaning.name, (1, 1)
        elif isinstance(meaning, _Flattened):
            source, size = meaning.source, self._require_size(meaning.source)
        else:
            raise UnsupportedNode("a linear layer that does not follow global average pooling")
        channels = self._channels(source)
        self._require_columns(weight, channels * size[0] * size[1])
        kernel = np.ascontiguousarray(weight.reshape(len(weight), channels, *size))
        return Branch(source, Convolution(kernel, bias))

    def _require_columns(self, weight: NDArray[Any], columns: int) -> None:
        if weight.shape[1] != columns:
            raise UnsupportedNode(f"a linear layer of {weight.shape[1]} values where there are {columns}")

    def _pass_on(self, node: onnx.NodeProto, *, check_only: bool = False) -> None:
        """Operations that change nothing: what follows reads the same."""
        settings = read_attributes(node, seed=0, to=onnx.TensorProto.FLOAT, saturate=1, round_mode=b"up", ratio=0.5)
        if settings["to"] != onnx.TensorProto.FLOAT:
            raise UnsupportedNode("a conversion to another type than float32")
        trains = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]
        if trains and self._constant(node.input[2]).any():
            raise UnsupportedNode("dropout in training mode; export the model for inference")
        if not check_only:
            self.meanings[node.output[0]] = self._meaning(node.input[0])

    def _reshape(self, node: onnx.NodeProto) -> None:
        """From a map to a row of values for each picture, and nothing else."""
        read_attributes(node, axis=1, axes=None, allowzero=0)
        meaning, shape = self._meaning(node.input[0]), self.shapes.get(node.output[0], ())
        batch, below = self.shapes.get(self.graph.input[0].name, (None,))[0], self.shapes.get(node.input[0], ())
        if len(shape) == len(below) == 2 and shape[1] == below[1] is not None:
            self.meanings[node.output[0]] = meaning
            return
        if len(shape) != 2 or shape[1] is None or (batch is not None and shape[0] != batch):
            raise UnsupportedNode("a feature map is reshaped before global average pooling")
        if isinstance(meaning, _Pooled):
            if shape[1] != self._channels(meaning.source):
                raise UnsupportedNode("the pooled channels are reshaped to something else than one row a picture")
            self.meanings[node.output[0]] = meaning
            return
        source = self._feature(node.input[0]).name
        rows, columns = self._require_size(source)
        if shape[1] != self._channels(source) * rows * columns:
            raise UnsupportedNode("a feature map is reshaped before global average pooling")
        self.meanings[node.output[0]] = _Flattened(source)

    def _weight(self, name: str) -> NDArray[np.float32]:
        return _finite(self._constant(name))

    def _vector(self, node: onnx.NodeProto, place: int, length: int) -> NDArray[np.float32]:
        """An input of one number for each channel, zeros where it is left out."""
        if len(node.input) <= place or not node.input[place]:
            return np.zeros(length, np.float32)
        value = self._weight(node.input[place])
        if value.shape != (length,):
            raise UnsupportedNode(f"an input of shape {value.shape} where {length} numbers are needed")
        return value

    def _constant(self, name: str) -> NDArray[Any]:
        if name not in self.constants:
            raise UnsupportedNode("its weights are no constants")
        return self.constants[name]


def _finite(value: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        weights = np.ascontiguousarray(value, dtype=np.float32)
    if not np.isfinite(weights).all():
        raise UnsupportedNode("weights that are no finite numbers")
    return weights


def _row(constant: NDArray[Any], length: int) -> NDArray[Any]:
    """A constant that is added to each row of (batch, length), broadcast by ONNX's rules."""
    shape = constant.shape
    if any(side != 1 for side in shape[:-1]) or (shape and shape[-1] not in {1, length}) or constant.ndim > 2:
        raise UnsupportedNode(f"a bias of shape {shape} where {length} numbers are needed")
    return np.broadcast_to(constant.reshape(-1), (length,))


def _alike(channels: int, kernel: Sequence[int], share: float) -> Convolution:
    """A convolution that does the same to each channel by itself: `share` of every tap."""
    weight = np.zeros((channels, channels, *kernel), np.float32)
    weight[np.arange(channels), np.arange(channels)] = share
    return Convolution(weight, np.zeros(channels, np.float32))


def _is_alike(convolution: Convolution | None) -> bool:
    if convolution is None or convolution.weight.shape[2:] != (1, 1) or convolution.bias.any():
        return False
    matrix = convolution.weight[:, :, 0, 0]
    return matrix.shape[0] == matrix.shape[1] and bool((matrix == np.eye(len(matrix))).all())


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int | None, ...]]:
    """Sides of every tensor, None where a side is not fixed."""
    return {
        item.name: tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in described.dim)
        for item in (*graph.input, *graph.output, *graph.value_info)
        if (described := item.type.tensor_type.shape) is not None
    }
