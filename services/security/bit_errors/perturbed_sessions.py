"""Sessions of onnxruntime for a classifier whose weights change from network to network.

Two ways, both of which read the graph without its weights:

- `SessionPerNetwork` opens a session for each set of weights. Opening costs (11 ms for 2.8 million weights, 28 ms for
  4.6 million, of which the graph's bytes are none), and what is opened runs as quickly as any model: constants are
  folded, weights laid out for the processor, batch normalisation folded into convolutions.
- `WeightsAsInputs` opens one session and gives the weights to each run. No opening; but nothing that depends on
  weights is prepared, so that each run of a convolutional network takes half as long again, or twice as long.

Which is quicker depends on how many pictures each network sees: `choose_way` measures it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.security.bit_errors.weight_layers import load_model
from services.security.bit_errors.weight_memory import WeightMemory
from shared.runtime.session_options import session_options

if TYPE_CHECKING:
    import onnxruntime

Way = Literal["session_per_network", "weights_as_inputs"]
Weights = Mapping[str, NDArray[Any]]
"""Arrays by the name of their tensor in the memory: what `WeightMemory.perturbed` gives."""

_PROVIDERS: Final = ["CPUExecutionProvider"]
_NO_FILE: Final = "weights given by the session"
"""Location of tensors that are given when the session opens; no such file is read."""

_TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Signature:
    """What a classifier takes and gives.

    Attributes:
        input: name of the pictures.
        output: name of the scores, (batch, classes).
    """

    input: str
    output: str


class PerturbedClassifier(Protocol):
    """A classifier whose weights can be exchanged."""

    def load(self, weights: Weights) -> None:
        """Take other weights: all of the memory's."""

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Scores of a batch with the weights of the last `load`: shape (batch, classes)."""


class SessionPerNetwork:
    """Opens a session for each set of weights.

    Args:
        model: content of the ONNX file.
        memory: its weights.
        signature: what it takes and gives.
        threads: of one run.
    """

    def __init__(self, model: bytes, memory: WeightMemory, signature: Signature, *, threads: int) -> None:
        self._graph = _without_weights(model, memory, _as_external)
        self._signature, self._threads = signature, threads
        self._session: onnxruntime.InferenceSession | None = None

    def load(self, weights: Weights) -> None:
        """Open a session with these weights, in place of the one before."""
        import onnxruntime

        self._session = None  # before the next, so that memory holds one
        options = session_options(self._threads, arena=True)
        values = [_ort_value(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        self._session = onnxruntime.InferenceSession(self._graph, sess_options=options, providers=_PROVIDERS)

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Scores of a batch: float32 (batch, classes)."""
        if self._session is None:
            raise RuntimeError("no weights were loaded")
        (scores,) = self._session.run([self._signature.output], {self._signature.input: batch})
        return np.asarray(scores, np.float32)


class WeightsAsInputs:
    """Gives the weights to every run of one session.

    Args:
        model: content of the ONNX file.
        memory: its weights.
        signature: what it takes and gives.
        threads: of one run.
    """

    def __init__(self, model: bytes, memory: WeightMemory, signature: Signature, *, threads: int) -> None:
        import onnxruntime

        self._signature = signature
        self._weights: dict[str, onnxruntime.OrtValue] = {}
        self._session = onnxruntime.InferenceSession(
            with_weights_as_inputs(model, memory),
            sess_options=session_options(threads, arena=True),
            providers=_PROVIDERS,
        )

    def load(self, weights: Weights) -> None:
        """Give these weights to the runs that follow."""
        self._weights = {name: _ort_value(array) for name, array in weights.items()}

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Scores of a batch: float32 (batch, classes)."""
        import onnxruntime

        if not self._weights:
            raise RuntimeError("no weights were loaded")
        feed = {self._signature.input: onnxruntime.OrtValue.ortvalue_from_numpy(batch), **self._weights}
        (scores,) = self._session.run_with_ort_values([self._signature.output], feed)
        return np.asarray(scores.numpy(), np.float32)


WAYS: Final[Mapping[Way, Callable[..., PerturbedClassifier]]] = {
    "session_per_network": SessionPerNetwork,
    "weights_as_inputs": WeightsAsInputs,
}


@dataclass(frozen=True, slots=True)
class WayTiming:
    """What one way costs on this machine.

    Attributes:
        load_s: seconds to exchange the weights.
        batch_s: seconds to run a batch.
    """

    load_s: float
    batch_s: float

    def network_s(self, batches: float) -> float:
        """Seconds for one set of weights and its batches."""
        return self.load_s + batches * self.batch_s


def open_classifier(
    way: Way, model: bytes, memory: WeightMemory, signature: Signature, *, threads: int
) -> PerturbedClassifier:
    """A classifier without weights: `load` some before the first run."""
    return WAYS[way](model, memory, signature, threads=threads)


def time_way(
    classifier: PerturbedClassifier,
    memory: WeightMemory,
    batch: NDArray[Any],
    *,
    pause: Callable[[], object] = lambda: None,
) -> WayTiming:
    """The shorter of two loads, and of two runs after one that is not counted.

    Args:
        classifier: opened by one of the ways.
        memory: its weights.
        batch: pictures of one run.
        pause: called before each load and run; may raise.
    """
    weights = memory.read_faultless()

    def seconds(work: Callable[[], object]) -> float:
        pause()
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    load_s = min(seconds(lambda: classifier.load(weights)) for _ in range(_TRIES))
    first, *others = (seconds(lambda: classifier.run(batch)) for _ in range(1 + _TRIES))
    return WayTiming(load_s, min(others, default=first))


def choose_way(timings: Mapping[Way, WayTiming], *, batches: float) -> Way:
    """The quicker way for networks that see so many batches each."""
    return min(timings, key=lambda way: timings[way].network_s(batches))


def _ort_value(array: NDArray[Any]) -> onnxruntime.OrtValue:
    """The array as onnxruntime has it; types that NumPy lacks (bfloat16) by their ONNX type."""
    import onnxruntime

    array = np.ascontiguousarray(array)
    if array.dtype.kind == "V" or array.dtype.name == "bfloat16":
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), kind)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def with_weights_as_inputs(model: bytes, memory: WeightMemory) -> bytes:
    """The graph with an input in place of each tensor of the memory, for sessions that are made elsewhere.

    Args:
        model: content of the ONNX file.
        memory: its weights.
    """
    return _without_weights(model, memory, _as_input)


def _without_weights(
    content: bytes, memory: WeightMemory, declare: Callable[[onnx.GraphProto, TensorProto], None]
) -> bytes:
    """The graph with every tensor of the memory declared otherwise than by its values."""
    model = load_model(content)
    graph = model.graph
    names = {tensor.name for tensor in memory.tensors}
    _state_constants_as_initialisers(graph, names)
    _remove(graph.input, names)
    stated = [_description(one) for one in graph.initializer if one.name in names]
    _remove(graph.initializer, names)
    for tensor in stated:
        declare(graph, tensor)
    return bytes(model.SerializeToString())


def _description(tensor: TensorProto) -> TensorProto:
    """A tensor's name, type and shape."""
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def _as_external(graph: onnx.GraphProto, tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    size = int(np.prod(tensor.dims)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    for key, value in (("location", _NO_FILE), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    graph.initializer.append(tensor)


def _as_input(graph: onnx.GraphProto, tensor: TensorProto) -> None:
    graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def _state_constants_as_initialisers(graph: onnx.GraphProto, names: set[str]) -> None:
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in names:
            value = next(attribute.t for attribute in node.attribute if attribute.name == "value")
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


def _remove(entries: Any, names: set[str]) -> None:
    for index in reversed(range(len(entries))):
        if entries[index].name in names:
            del entries[index]
