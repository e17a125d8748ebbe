"""One operator of a graph: what it is called, its attributes, and which of its inputs never change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import onnx
import torch
from torch import Tensor

from services.security.camouflage.optimisation.graphs.folding import UnusableGraph

Inputs: TypeAlias = Sequence[Tensor | None]
Outputs: TypeAlias = Tensor | tuple[Tensor, ...]

_Value = TypeVar("_Value")


class UnknownOperator(UnusableGraph):
    """A graph has an operator, or a mode of one, that is not known here."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An operator in its place.

    Attributes:
        operator: its name in ONNX.
        name: of the node.
        inputs: names of values, empty where one is left out.
        outputs: names of values.
        attributes: by name; texts as str.
        constants: those inputs that never change, by place, as numbers.
        precision: dtype of what the graph calls float32.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    constants: Mapping[int, Any]
    precision: torch.dtype

    def get(self, attribute: str, default: _Value) -> _Value:
        """An attribute, or its default."""
        found: _Value = self.attributes.get(attribute, default)
        return found

    def require(self, attribute: str, *allowed: object, default: object) -> None:
        """Refuse modes that are not computed here.

        Raises:
            UnknownOperator: the attribute has another value.
        """
        found = self.attributes.get(attribute, default)
        if found not in allowed:
            raise self.refusal(f"with {attribute} = {found!r}")

    def refusal(self, what: str) -> UnknownOperator:
        """What is said of a mode that is not computed here."""
        return UnknownOperator(f"the operator {self.operator} {what} is not known here (node {self.name!r})")

    def numbers(self, place: int, inputs: Inputs) -> list[Any] | None:
        """An input as a list of numbers; None where it is left out.

        Constants were read once: to read a tensor takes as long as to compute a small layer.
        """
        if place in self.constants:
            found = self.constants[place]
        else:
            tensor = inputs[place] if place < len(inputs) else None
            if tensor is None:
                return None
            found = tensor.tolist()
        return found if isinstance(found, list) else [found]

    def number(self, place: int, inputs: Inputs) -> Any:
        """An input of one element; None where it is left out."""
        found = self.numbers(place, inputs)
        return None if found is None else found[0]

    def axes(self, place: int, inputs: Inputs) -> list[int] | None:
        """Axes as an input, or as an attribute in older operators; None where they are left out."""
        found = self.numbers(place, inputs)
        return found if found is not None else self.attributes.get("axes")


Compute: TypeAlias = Callable[[Node, Inputs], Outputs]


def tensor_of(inputs: Inputs, place: int) -> Tensor:
    """An input that may not be left out."""
    found = inputs[place]
    if found is None:
        raise UnusableGraph(f"input {place} of an operator is left out")
    return found


def read_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes as Python has them."""
    found = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
