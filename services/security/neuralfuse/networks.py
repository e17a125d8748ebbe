"""Classifiers whose weights can be read through faulty cells: found by name, prepared once, kept while used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from services.released import open_artifacts
from services.security.bit_errors.faults import FaultModel
from services.security.neuralfuse.graphs import PreparedGraph, UnusableGraph, count_graph, prepare_graph
from services.security.neuralfuse.settings import NeuralFuseSettings
from shared.fleet.artifacts import ModelArtifact, ModelArtifacts
from shared.fleet.classifiers import ClassifierDescription, describe_classifier
from shared.memory import release_garbage
from shared.problems import field_problem
from shared.runtime.cards import ModelReference
from shared.runtime.inspection.preparation import TrialLimits, prepare
from shared.runtime.inspection.verification import MOST_BYTES, Refused, verify
from shared.runtime.models.sessions import OnnxModel
from shared.service_state import ServiceState
from shared.settings import Settings

if TYPE_CHECKING:
    from services.security.bit_errors.weight_memory import WeightMemory

Value = TypeVar("Value")

_REMEMBERED = 256
"""Models of which is remembered why they cannot be used, and counts."""


@dataclass(frozen=True, slots=True)
class ReadWeights:
    """What was read out of a weight memory.

    Attributes:
        arrays: by name of the tensor, as the graph takes them.
        flip_rate: share of the bits that were read otherwise than they were written.
    """

    arrays: dict[str, NDArray[Any]]
    flip_rate: float

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True, slots=True)
class Network:
    """A classifier, run with whatever weights it is given. Its methods block and may be called by several threads.

    Attributes:
        description: how it wants pictures, and what its answer means.
        model: the graph whose weights are inputs.
        memory: its weights as they were written.
        macs: multiply-accumulates for one picture; None where they cannot be counted.
        size: bytes of memory and graph.
    """

    description: ClassifierDescription
    model: OnnxModel
    memory: WeightMemory
    macs: int | None
    size: int

    @classmethod
    def of(cls, description: ClassifierDescription, prepared: PreparedGraph, *, threads: int) -> Network:
        """Make its session."""
        model = OnnxModel(description.card, prepared.graph, threads=threads)
        size = len(prepared.graph) + prepared.memory.count
        return cls(description, model, prepared.memory, prepared.macs, size)

    def read(self, faults: FaultModel | None, seed: int = 0) -> ReadWeights:
        """Read all weights: as they were written, or through the faulty cells of the chip `seed`."""
        if faults is None:
            return ReadWeights(self.memory.read_faultless(), 0.0)
        read = self.memory.perturbed(faults, seed)
        flipped = sum(_flipped_bits(one.values, read[one.name], one.scale) for one in self.memory.tensors)
        return ReadWeights(read, flipped / (8 * self.memory.count))

    def probabilities(self, pictures: NDArray[np.float32], weights: ReadWeights) -> NDArray[np.float32]:
        """Probabilities (count, classes) of pictures in [0, 1], float32 (count, 3, height, width)."""
        wanted = self.description
        (answered,) = self.model.run({wanted.input: wanted.normalise(pictures)}, common=weights.arrays)
        return wanted.scores(answered).probabilities


class Recent(Generic[Value]):
    """Values of a limited size, of which those go first that were not asked for the longest. Thread-safe.

    Args:
        most_bytes: of all of them.
        size: bytes of one.
    """

    def __init__(self, most_bytes: int, size: Callable[[Value], int]) -> None:
        self._most_bytes, self._size = most_bytes, size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, if it is still there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def add(self, key: Hashable, value: Value) -> None:
        """Remember a value, in the place of others; one that is too large by itself is not remembered."""
        if self._size(value) > self._most_bytes:
            return
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while sum(map(self._size, self._values.values())) > self._most_bytes:
                self._values.popitem(last=False)

    @property
    def bytes(self) -> int:
        """Of all that there are."""
        with self._lock:
            return sum(map(self._size, self._values.values()))


class Networks:
    """Hands out networks by the name of a classifier, and their weights with bit errors.

    Args:
        artifacts: finds models, of all domains.
        settings: of the process.
        own: of this capability.
    """

    def __init__(self, artifacts: ModelArtifacts, settings: Settings, own: NeuralFuseSettings) -> None:
        self._artifacts, self._settings = artifacts, settings
        self.most_macs = own.most_macs
        self._open: Recent[Network] = Recent(own.networks_bytes, lambda network: network.size)
        self._faulty: Recent[ReadWeights] = Recent(own.faulty_weights_bytes, lambda weights: weights.size)
        self._refused: OrderedDict[str, str] = OrderedDict()
        self._counted: OrderedDict[tuple[str, tuple[int, int]], int | None] = OrderedDict()
        self._one_at_a_time = anyio.Lock()

    @property
    def limits(self) -> TrialLimits:
        """Of processes that read files."""
        return TrialLimits.of(self._settings)

    async def find(self, name: str, version: str | None = None) -> ModelArtifact:
        """The file and the card of a model, of any domain.

        Raises:
            NotFound, ServiceUnavailable: as `ModelArtifacts.find`.
        """
        return await self._artifacts.find(name, version)

    async def get(self, artifact: ModelArtifact) -> Network:
        """The network of a model; the first time takes a second, of another process.

        Raises:
            ServiceUnavailable: its file cannot be read at present.
            UnprocessableContent: it is no classifier of pictures, or its weights cannot be stored in eight bits.
        """
        key, description = _key(artifact), describe_classifier(artifact.card)
        if (found := self._open.get(key)) is not None:
            return found
        async with self._one_at_a_time:
            if (found := self._open.get(key)) is not None:
                return found
            if (reason := self._refused.get(key)) is None:
                try:
                    network = await anyio.to_thread.run_sync(self._make, artifact, description)
                except UnusableGraph as error:
                    reason = self._refuse(key, str(error))
                else:
                    self._open.add(key, network)
                    return network
        raise field_problem("/body/model", f"{artifact.card.name} cannot be run with bit errors: {reason}.")

    async def count_macs(self, model: ModelReference, side: tuple[int, int]) -> int | None:
        """Multiply-accumulates of a model for one picture of this height and width; None where they cannot be counted.

        The first time takes a second, of another process.

        Raises:
            NotFound, ServiceUnavailable: as `ModelArtifacts.find`.
        """
        key = (model.weights_sha256, side)
        if key not in self._counted:
            artifact = await self._artifacts.find(model.name, model.version)
            self._counted[key] = await anyio.to_thread.run_sync(self._count, artifact, side)
            while len(self._counted) > _REMEMBERED:
                self._counted.popitem(last=False)
        return self._counted[key]

    def _count(self, artifact: ModelArtifact, side: tuple[int, int]) -> int | None:
        try:
            return count_graph(artifact.read(), height=side[0], width=side[1], limits=self.limits)
        except UnusableGraph:
            return None

    def read(self, network: Network, faults: FaultModel, seed: int) -> ReadWeights:
        """Weights through the faulty cells of a chip: those of an earlier request, or drawn now. Blocks."""
        key = (network.description.reference.weights_sha256, faults, seed)
        found = self._faulty.get(key)
        if found is None:
            found = network.read(faults, seed)
            self._faulty.add(key, found)
        return found

    def _make(self, artifact: ModelArtifact, description: ClassifierDescription) -> Network:
        content = _read_safely(artifact, self.limits)
        prepared = prepare_graph(content, height=description.height, width=description.width, limits=self.limits)
        network = Network.of(description, prepared, threads=self._settings.inference_threads)
        release_garbage()
        return network

    def _refuse(self, key: str, reason: str) -> str:
        self._refused[key] = reason
        while len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)
        return reason


def _read_safely(artifact: ModelArtifact, limits: TrialLimits) -> bytes:
    """The file of a model, as services open it: without operators by which tensors end the process that runs them.

    Raises:
        UnusableGraph: it is refused.
    """
    content = artifact.read()
    try:
        facts = verify(content, artifact.card, most_bytes=max(MOST_BYTES, len(content)))
        return prepare(content, facts, limits)
    except Refused as error:
        raise UnusableGraph(f"its file is refused: {'; '.join(one.detail for one in error.errors)}") from None


def _key(artifact: ModelArtifact) -> str:
    """One for each version, file and card: the card says how answers are read."""
    return f"{artifact.domain} {artifact.card.model_dump_json()}"


def _flipped_bits(written: NDArray[np.int8], read: NDArray[Any], scale: float | None) -> int:
    """Bits that differ between stored bytes and what the graph is given for those that were read."""
    if scale is None:
        stored = read.view(np.int8)
    else:
        stored = np.rint(read.astype(np.float32) / np.float32(scale)).astype(np.int8)
    return int(np.bitwise_count((written ^ stored).view(np.uint8)).sum(dtype=np.int64))


@asynccontextmanager
async def open_networks(service: ServiceState) -> AsyncIterator[Networks]:
    """The networks of a service: none is open before it is asked for."""
    async with open_artifacts(service) as artifacts:
        yield Networks(artifacts, service.settings, NeuralFuseSettings())
