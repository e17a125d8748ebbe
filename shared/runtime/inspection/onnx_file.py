"""What an ONNX file says of itself, read without the onnx package and without opening a session.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Weights are passed over;
subgraphs, functions, training graphs and sparse tensors are followed, as any of them may name an operator or a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from shared.runtime.inspection.protobuf import Budget, MalformedMessage, Message, read_message

MOST_FIELDS: Final = 1_000_000
DEEPEST: Final = 32
"""Messages within messages; each subgraph takes three."""

ELEMENT_TYPES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""TensorProto.DataType in the words of cards; NumPy or the protocols lack the rest."""

OVERFLOWING: Final = frozenset({"int32", "int64"})
"""Types whose smallest value divided by -1 ends the process: a signal of the processor. Narrower ones wrap."""

NEEDING_ELEMENTS: Final = frozenset({"LSTM", "GRU", "DynamicQuantizeLSTM", "AttnLSTM"})
"""Operators, of ai.onnx and com.microsoft, that abort the process where there is nothing to compute."""

_EXTERNAL: Final = 1
_FLOAT_ATTRIBUTES: Final = frozenset({"value_float", "value_floats"})
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
        doubtful_division: whether a Div is not known to be one of other numbers than those of OVERFLOWING.
    """

    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[TensorFact, ...]
    outputs: tuple[TensorFact, ...]
    operators: frozenset[tuple[str, str]]
    external: tuple[str, ...]
    doubtful_division: bool = False

    @property
    def hazardous(self) -> bool:
        """Whether tensors of a caller could end the process: `inspection.hazards` has to look at the file."""
        return self.doubtful_division or any(kind in NEEDING_ELEMENTS for _, kind in self.operators)


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
        doubtful_division=reader.doubtful_division,
    )


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


@dataclass(slots=True)
class _Reader:
    budget: Budget
    operators: set[tuple[str, str]] = field(default_factory=set)
    external: list[str] = field(default_factory=list)
    doubtful_division: bool = False

    def message(self, data: memoryview, depth: int) -> Message:
        if depth > DEEPEST:
            raise MalformedMessage(f"it is nested deeper than {DEEPEST} levels")
        return read_message(data, self.budget)

    def opsets(self, parts: Iterable[memoryview], depth: int) -> Iterator[tuple[str, int]]:
        for part in parts:
            entry = self.message(part, depth)
            yield _domain(entry.text(1)), entry.number(2)

    def graph(
        self, data: memoryview, depth: int, outside: frozenset[str] = frozenset()
    ) -> tuple[tuple[TensorFact, ...], tuple[TensorFact, ...]]:
        """Inputs without initial value, and outputs; what is inside is noted.

        Args:
            data: the graph.
            depth: of it.
            outside: names of the graphs around it that are known to be no whole numbers that may overflow.
        """
        graph = self.message(data, depth)
        nodes = [self.message(node, depth + 1) for node in graph.parts.get(1, ())]
        given = dict(self.tensor(tensor, depth + 1) for tensor in graph.parts.get(5, ()))
        given |= dict(self.sparse_tensor(tensor, depth + 1) for tensor in graph.parts.get(15, ()))
        inputs, outputs, others = (
            [self.value(value, depth + 1) for value in graph.parts.get(number, ())] for number in (11, 12, 13)
        )
        types = {value.name: value.dtype for value in (*inputs, *outputs, *others)} | given
        # A name that is made in here is another than the one outside.
        harmless = set(outside) - {name for node in nodes for name in node.texts(2)} - types.keys()
        harmless |= {name for name, dtype in types.items() if dtype and dtype not in OVERFLOWING}
        for node in nodes:
            self.node(node, depth + 1, harmless)
        return tuple(value for value in inputs if value.name not in given), tuple(outputs)

    def node(self, node: Message, depth: int, harmless: set[str]) -> None:
        """Note a node; the names that it makes are added to the harmless ones where that is known."""
        operator = _domain(node.text(7)), node.text(4)
        self.operators.add(operator)
        if operator == ("", "Div") and not harmless.intersection(node.texts(1)):
            self.doubtful_division = True
        for attribute in node.parts.get(5, ()):
            dtype = self.attribute(attribute, depth + 1, frozenset(harmless))
            if operator == ("", "Constant") and dtype and dtype not in OVERFLOWING:
                harmless.update(node.texts(2))

    def attribute(self, data: memoryview, depth: int, outside: frozenset[str] = frozenset()) -> str:
        """Note what is in an attribute; the dtype of its value where it may be that of a Constant."""
        attribute = self.message(data, depth)
        one_tensor, one_graph, one_sparse = (attribute.merged(number) for number in (5, 6, 22))
        dtype = "float32" if attribute.text(1) in _FLOAT_ATTRIBUTES else ""
        for tensor in (*attribute.parts.get(10, ()), *([one_tensor] if one_tensor is not None else [])):
            dtype = self.tensor(tensor, depth + 1)[1]
        for graph in (*attribute.parts.get(11, ()), *([one_graph] if one_graph is not None else [])):
            self.graph(graph, depth + 1, outside)
        for sparse in (*attribute.parts.get(23, ()), *([one_sparse] if one_sparse is not None else [])):
            self.sparse_tensor(sparse, depth + 1)
        return dtype

    def tensor(self, data: memoryview, depth: int) -> tuple[str, str]:
        """Name and dtype; "" where cards do not know it."""
        tensor = self.message(data, depth)
        name = tensor.text(8)
        locations = {number & _LOW_32_BITS for number in tensor.numbers.get(14, ())}
        if tensor.parts.get(13) or _EXTERNAL in locations:
            self.external.append(name)
        return name, ELEMENT_TYPES.get(tensor.number(2) & _LOW_32_BITS, "")

    def sparse_tensor(self, data: memoryview, depth: int) -> tuple[str, str]:
        sparse = self.message(data, depth)
        found = [self.tensor(part, depth + 1) for part in map(sparse.merged, (1, 2)) if part is not None]
        return found[0] if found else ("", "")

    def training(self, data: memoryview, depth: int) -> None:
        training = self.message(data, depth)
        for graph in map(training.merged, (1, 2)):
            if graph is not None:
                self.graph(graph, depth + 1)

    def function(self, data: memoryview, depth: int) -> tuple[str, str]:
        """Domain and name of a function that the file defines; its nodes are noted."""
        function = self.message(data, depth)
        harmless: set[str] = set()
        for node in function.parts.get(7, ()):
            self.node(self.message(node, depth + 1), depth + 1, harmless)
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
