"""What an ONNX file says of itself, read without the onnx package and without opening a session.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Weights are passed over;
subgraphs, functions, training graphs and sparse tensors are followed, as any of them may name an operator or a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from shared.runtime.protobuf import Budget, MalformedMessage, Message, read_message

MOST_FIELDS: Final = 1_000_000
DEEPEST: Final = 32
"""Messages within messages; each subgraph takes three."""

ELEMENT_TYPES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""TensorProto.DataType in the words of cards; NumPy or the protocols lack the rest."""

_EXTERNAL: Final = 1
_LOW_32_BITS: Final = 0xFFFFFFFF

Axis = int | str | None
"""A size, a name that stands for any size, or nothing said."""


@dataclass(frozen=True, slots=True)
class TensorFact:
    """An input or output as the file declares it.

    Attributes:
        name: in the graph.
        dtype: as cards name it; "" where it is no tensor, or one of a type that cards do not know.
        shape: of each axis what is said of it; None where not even their number is known.
    """

    name: str
    dtype: str
    shape: tuple[Axis, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What is known of a file.

    Attributes:
        ir_version: of the format.
        opsets: version by domain; "" is ai.onnx.
        inputs: that must be given: without those that have an initial value.
        outputs: in the order of the file.
        operators: domain and type of each operator in use, functions of the file left out.
        external: names of tensors whose data are said to be in other files.
    """

    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[TensorFact, ...]
    outputs: tuple[TensorFact, ...]
    operators: frozenset[tuple[str, str]]
    external: tuple[str, ...]


def read_onnx(content: bytes) -> OnnxFacts:
    """Read a file. About a millisecond for a thousand nodes; weights cost nothing.

    Raises:
        MalformedMessage: it is no ONNX file, or nested deeper or made of more parts than is read.
    """
    reader = _Reader(Budget(MOST_FIELDS))
    model = reader.message(memoryview(content), 0)
    graph = model.merged(7)
    if graph is None:
        raise MalformedMessage("it has no graph")
    inputs, outputs = reader.graph(graph, 1)
    for part in model.parts.get(20, ()):
        reader.training(part, 1)
    functions = {reader.function(part, 1) for part in model.parts.get(25, ())}
    return OnnxFacts(
        ir_version=model.number(1),
        opsets=dict(reader.opsets(model.parts.get(8, ()), 1)),
        inputs=inputs,
        outputs=outputs,
        operators=frozenset(reader.operators - functions),
        external=tuple(reader.external),
    )


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


@dataclass(slots=True)
class _Reader:
    budget: Budget
    operators: set[tuple[str, str]] = field(default_factory=set)
    external: list[str] = field(default_factory=list)

    def message(self, data: memoryview, depth: int) -> Message:
        if depth > DEEPEST:
            raise MalformedMessage(f"it is nested deeper than {DEEPEST} levels")
        return read_message(data, self.budget)

    def opsets(self, parts: Iterable[memoryview], depth: int) -> Iterator[tuple[str, int]]:
        for part in parts:
            entry = self.message(part, depth)
            yield _domain(entry.text(1)), entry.number(2)

    def graph(self, data: memoryview, depth: int) -> tuple[tuple[TensorFact, ...], tuple[TensorFact, ...]]:
        """Inputs without initial value, and outputs; what is inside is noted."""
        graph = self.message(data, depth)
        for node in graph.parts.get(1, ()):
            self.node(node, depth + 1)
        given = {self.tensor(tensor, depth + 1) for tensor in graph.parts.get(5, ())}
        given |= {self.sparse_tensor(tensor, depth + 1) for tensor in graph.parts.get(15, ())}
        inputs = (self.value(value, depth + 1) for value in graph.parts.get(11, ()))
        outputs = (self.value(value, depth + 1) for value in graph.parts.get(12, ()))
        return tuple(value for value in inputs if value.name not in given), tuple(outputs)

    def node(self, data: memoryview, depth: int) -> None:
        node = self.message(data, depth)
        self.operators.add((_domain(node.text(7)), node.text(4)))
        for attribute in node.parts.get(5, ()):
            self.attribute(attribute, depth + 1)

    def attribute(self, data: memoryview, depth: int) -> None:
        attribute = self.message(data, depth)
        one_tensor, one_graph, one_sparse = (attribute.merged(number) for number in (5, 6, 22))
        for tensor in (*attribute.parts.get(10, ()), *([one_tensor] if one_tensor is not None else [])):
            self.tensor(tensor, depth + 1)
        for graph in (*attribute.parts.get(11, ()), *([one_graph] if one_graph is not None else [])):
            self.graph(graph, depth + 1)
        for sparse in (*attribute.parts.get(23, ()), *([one_sparse] if one_sparse is not None else [])):
            self.sparse_tensor(sparse, depth + 1)

    def tensor(self, data: memoryview, depth: int) -> str:
        tensor = self.message(data, depth)
        name = tensor.text(8)
        locations = {number & _LOW_32_BITS for number in tensor.numbers.get(14, ())}
        if tensor.parts.get(13) or _EXTERNAL in locations:
            self.external.append(name)
        return name

    def sparse_tensor(self, data: memoryview, depth: int) -> str:
        sparse = self.message(data, depth)
        names = [self.tensor(part, depth + 1) for part in map(sparse.merged, (1, 2)) if part is not None]
        return names[0] if names else ""

    def training(self, data: memoryview, depth: int) -> None:
        training = self.message(data, depth)
        for graph in map(training.merged, (1, 2)):
            if graph is not None:
                self.graph(graph, depth + 1)

    def function(self, data: memoryview, depth: int) -> tuple[str, str]:
        """Domain and name of a function that the file defines; its nodes are noted."""
        function = self.message(data, depth)
        for node in function.parts.get(7, ()):
            self.node(node, depth + 1)
        for attribute in function.parts.get(11, ()):
            self.attribute(attribute, depth + 1)
        return _domain(function.text(10)), function.text(1)

    def value(self, data: memoryview, depth: int) -> TensorFact:
        value = self.message(data, depth)
        kind = value.merged(2)
        declared = self.message(kind, depth + 1) if kind is not None else None
        tensor = declared.merged(1) if declared is not None and set(declared.parts) <= {1, 6} else None
        if tensor is None:
            return TensorFact(value.text(1), "", None)
        described = self.message(tensor, depth + 2)
        shape = described.merged(2)
        dtype = ELEMENT_TYPES.get(described.number(1) & _LOW_32_BITS, "")
        return TensorFact(value.text(1), dtype, None if shape is None else self.shape(shape, depth + 3))

    def shape(self, data: memoryview, depth: int) -> tuple[Axis, ...]:
        return tuple(self.axis(part, depth + 1) for part in self.message(data, depth).parts.get(1, ()))

    def axis(self, data: memoryview, depth: int) -> Axis:
        axis = self.message(data, depth)
        last = next((number for number in reversed(axis.order) if number in {1, 2}), 0)
        if last == 1 and 1 in axis.numbers:
            return axis.number(1)
        return (axis.text(2) or None) if last == 2 else None
