"""The graphs that explain one classifier, each made of its file when it is first needed, and what runs them.

An explanation is a generator: it yields the runs of graphs that it needs and is sent their outputs. So the same
arithmetic is done in a service, where runs are awaited in batches with other requests, and in a script, where they are
made at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar, cast

import numpy as np
import onnx

from services.uncertainty.explanation.networks.preparation import prepared
from services.uncertainty.explanation.networks.reading.network import read_network
from services.uncertainty.explanation.onnx_graphs.baselines import with_class_map, with_gradient, with_propagation
from services.uncertainty.explanation.onnx_graphs.conversion import with_explanation, with_patterns
from shared.memory import release_garbage
from shared.runtime.batching.items import Answer, Arrays
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.cards import UploadedCard
from shared.runtime.compute_pool import Admission
from shared.runtime.models.sessions import OnnxModel

Result = TypeVar("Result")


class GraphKind(Enum):
    """What a graph answers besides the logits."""

    SRD = auto()
    SRD_LAYERS = auto()
    SRD_PATTERNS = auto()
    PATTERNS = auto()
    GRADIENT = auto()
    CLASS_MAP = auto()
    LRP_EPSILON = auto()
    LRP_Z_PLUS = auto()


def extend(model: onnx.ModelProto, kind: GraphKind, layers: Sequence[str]) -> onnx.ModelProto:
    """A classifier's graph with an explanation behind it.

    Args:
        model: the classifier.
        kind: of explanation.
        layers: names of its layers, from the input up.
    """
    match kind:
        case GraphKind.SRD:
            return with_explanation(model)
        case GraphKind.SRD_LAYERS:
            return with_explanation(model, layers=layers)
        case GraphKind.SRD_PATTERNS:
            return with_explanation(model, layers=layers, patterns=True)
        case GraphKind.PATTERNS:
            return with_patterns(model)
        case GraphKind.GRADIENT:
            return with_gradient(model, layers=layers[1:])
        case GraphKind.CLASS_MAP:
            return with_class_map(model)
        case GraphKind.LRP_EPSILON:
            return with_propagation(model, rule="epsilon")
        case GraphKind.LRP_Z_PLUS:
            return with_propagation(model, rule="z+")


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a classifier without its graph.

    Attributes:
        input: name of the tensor that is decomposed: the picture as the normalisation leaves it.
        last: name of the last feature map.
        sizes: height and width of each layer that has a relevance, from the input up.
    """

    input: str
    last: str
    sizes: Mapping[str, tuple[int, int]]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that have a relevance, from the input up."""
        return tuple(self.sizes)


@dataclass(frozen=True, slots=True)
class ExtendedFile:
    """An ONNX file with an explanation in it, and the names of its outputs."""

    content: bytes
    outputs: tuple[str, ...]


class GraphSource(Protocol):
    """Where the graphs of one classifier come from."""

    def outline(self) -> Outline:
        """What the classifier is. Blocks.

        Raises:
            UnsupportedNetwork: a part of it has no rule.
        """

    def extend(self, kind: GraphKind, layers: Sequence[str]) -> ExtendedFile:
        """Its graph with an explanation behind it. Blocks for up to a second."""


class TrustedSource:
    """Reads and extends the graph here, for files that came with the code.

    Args:
        read: reads the ONNX file, anew for each graph: held, it would take megabytes for what is needed rarely.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read

    def outline(self) -> Outline:
        """What the classifier is."""
        return outline_of(onnx.load_model_from_string(self._read()))

    def extend(self, kind: GraphKind, layers: Sequence[str]) -> ExtendedFile:
        """Its graph with an explanation behind it."""
        return extended_file(onnx.load_model_from_string(self._read()), kind, layers)


def outline_of(model: onnx.ModelProto) -> Outline:
    """What a classifier is.

    Raises:
        UnsupportedNetwork: a part of it has no rule.
    """
    network = read_network(prepared(model))
    return Outline(network.input, network.head.source, {name: network.sizes[name] for name in network.layers()})


def extended_file(model: onnx.ModelProto, kind: GraphKind, layers: Sequence[str]) -> ExtendedFile:
    """A classifier with an explanation behind it, as a file."""
    joint = extend(model, kind, layers)
    return ExtendedFile(joint.SerializeToString(), tuple(item.name for item in joint.graph.output))


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that can be run, the names of its outputs, and the bytes of its file."""

    model: OnnxModel
    outputs: tuple[str, ...]
    size: int


class ExplanationGraphs:
    """Makes each graph once, whichever thread asks first; others that need the same one wait for it.

    Args:
        card: of the classifier.
        source: of its graphs.
        layers: names of its layers, from the input up.
        threads: threads that one run computes with.
    """

    def __init__(self, card: UploadedCard, source: GraphSource, layers: Sequence[str], *, threads: int) -> None:
        self._card, self._source, self._layers, self._threads = card, source, layers, threads
        self._made: dict[GraphKind, Graph] = {}
        self._locks = {kind: threading.Lock() for kind in GraphKind}

    def get(self, kind: GraphKind) -> Graph:
        """The graph of a kind; making it takes up to a second and blocks."""
        with self._locks[kind]:
            if kind not in self._made:
                self._made[kind] = self._make(kind)
            return self._made[kind]

    def _make(self, kind: GraphKind) -> Graph:
        made = self._source.extend(kind, self._layers)
        model = OnnxModel(self._card, made.content, threads=self._threads, outputs=made.outputs)
        graph = Graph(model, made.outputs, len(made.content))
        del made
        release_garbage()
        return graph

    @property
    def made(self) -> tuple[Graph, ...]:
        """Those that there are by now."""
        return tuple(self._made.values())

    def drop(self) -> tuple[Graph, ...]:
        """Forget them; whoever has one may still run it."""
        dropped, self._made = self.made, {}
        return dropped


@dataclass(frozen=True, slots=True)
class GraphRun:
    """A run that an explanation waits for.

    Attributes:
        model: the graph.
        inputs: arrays with one row for each picture.
        common: arrays that hold for all of them.
    """

    model: OnnxModel
    inputs: Arrays
    common: Arrays

    def parts(self) -> list[Arrays]:
        """The inputs of as many rows as the card lets one run have, so that many pictures take the memory of few."""
        count = len(next(iter(self.inputs.values())))
        most = self.model.card.runtime.batch_rows or count
        if count <= most:
            return [self.inputs]
        return [
            {name: array[start : start + most] for name, array in self.inputs.items()}
            for start in range(0, count, most)
        ]


def joined(runs: Sequence[Answer]) -> Answer:
    """The outputs of several runs as those of one: rows one after the other."""
    if len(runs) == 1:
        return runs[0]
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


Steps = Generator[GraphRun, Answer, Result]
"""An explanation under way: yields runs, is sent their outputs, returns its result."""


@dataclass(frozen=True, slots=True)
class Finished(Generic[Result]):
    """The result of steps that need no further run."""

    result: Result


def advance(steps: Steps[Result], outputs: Answer | None) -> GraphRun | Finished[Result]:
    """Compute until the next run is needed; `outputs` are those of the run before, None at the beginning."""
    try:
        return next(steps) if outputs is None else steps.send(outputs)
    except StopIteration as end:
        return Finished(cast("Result", end.value))


def run_steps(steps: Steps[Result]) -> Result:
    """Take all steps in this thread."""
    step = advance(steps, None)
    while isinstance(step, GraphRun):
        runs = [step.model.run(part, common=step.common) for part in step.parts()]
        step = advance(steps, joined(runs))
    return step.result


async def await_steps(steps: Steps[Result], *, admission: Admission, batchers: Batchers) -> Result:
    """Take all steps for a request: runs in batches with other requests', what is between them in a thread."""
    step = await admission.run(advance, steps, None)
    while isinstance(step, GraphRun):
        runs = [await batchers.infer(step.model, part, common=step.common) for part in step.parts()]
        step = await admission.run(advance, steps, joined(runs))
    return step.result
