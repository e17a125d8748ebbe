"""The graphs that explain one classifier, each made of its file when it is first needed, and what runs them.

An explanation is a generator: it yields the runs of graphs that it needs and is sent their outputs. So the same
arithmetic is done in a service, where runs are awaited in batches with other requests, and in a script, where they are
made at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar, cast

import onnx

from services.uncertainty.explanation.baselines import with_class_map, with_gradient, with_propagation
from services.uncertainty.explanation.conversion import with_explanation, with_patterns
from shared.memory import release_garbage
from shared.runtime.batch_items import Answer, Arrays
from shared.runtime.batchers import Batchers
from shared.runtime.cards import UploadedCard
from shared.runtime.compute_pool import Admission
from shared.runtime.sessions import OnnxModel

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
class Graph:
    """A graph that can be run, and the names of its outputs."""

    model: OnnxModel
    outputs: tuple[str, ...]


class ExplanationGraphs:
    """Makes each graph once, whichever thread asks first; others that need the same one wait for it.

    Args:
        card: of the classifier.
        read: reads its ONNX file, anew for each graph: kept, it would take megabytes for what is needed rarely.
        layers: names of its layers, from the input up.
        threads: threads that one run computes with.
    """

    def __init__(self, card: UploadedCard, read: Callable[[], bytes], layers: Sequence[str], *, threads: int) -> None:
        self._card, self._read, self._layers, self._threads = card, read, layers, threads
        self._made: dict[GraphKind, Graph] = {}
        self._locks = {kind: threading.Lock() for kind in GraphKind}

    def get(self, kind: GraphKind) -> Graph:
        """The graph of a kind; making it takes up to a second and blocks."""
        with self._locks[kind]:
            if kind not in self._made:
                self._made[kind] = self._make(kind)
            return self._made[kind]

    def _make(self, kind: GraphKind) -> Graph:
        joint = extend(onnx.load_model_from_string(self._read()), kind, self._layers)
        names = tuple(item.name for item in joint.graph.output)
        content = joint.SerializeToString()
        del joint
        graph = Graph(OnnxModel(self._card, content, threads=self._threads, outputs=names), names)
        del content
        release_garbage()
        return graph


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
        step = advance(steps, step.model.run(step.inputs, common=step.common))
    return step.result


async def await_steps(steps: Steps[Result], *, admission: Admission, batchers: Batchers) -> Result:
    """Take all steps for a request: runs in batches with other requests', what is between them in a thread."""
    step = await admission.run(advance, steps, None)
    while isinstance(step, GraphRun):
        outputs = await batchers.infer(step.model, step.inputs, common=step.common)
        step = await admission.run(advance, steps, outputs)
    return step.result
