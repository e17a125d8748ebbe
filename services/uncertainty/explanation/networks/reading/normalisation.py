"""What stands in front of the first vector that is decomposed, and what is computed of constants alone."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from services.uncertainty.explanation.networks.graph import UnsupportedNode
from services.uncertainty.explanation.networks.reading.activation import require_identity
from services.uncertainty.explanation.networks.reading.tensors import Tensors

_FOLDED: Final = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Div",
        "Identity",
        "Mul",
        "Neg",
        "Reshape",
        "Slice",
        "Sqrt",
    }
    | {"Squeeze", "Sub", "Transpose", "Unsqueeze"}
)
"""Operations that are computed here where all that they read is constant; none makes much out of little, but the one
that repeats a number, which is only computed where it makes few."""

_FEW: Final = 1024


def fold_constants(tensors: Tensors, node: onnx.NodeProto) -> bool:
    """Compute a node of constants, such as weights that an exporter passes through Identity; whether it is one.

    Raises:
        UnsupportedNode: its attributes do not fit.
    """
    if node.op_type not in _FOLDED or not all(name in tensors.constants or not name for name in node.input):
        return False
    if node.op_type == "ConstantOfShape" and np.prod(tensors.constants[node.input[0]], dtype=np.float64) > _FEW:
        return False
    given = {name: tensors.constants[name] for name in node.input if name}
    try:
        values = ReferenceEvaluator(node).run(None, given)
    except Exception:  # whatever the reference makes of attributes that do not fit
        raise UnsupportedNode("a constant that cannot be computed") from None
    tensors.constants |= {name: np.array(value) for name, value in zip(node.output, values, strict=True) if name}
    return True


def with_known_padding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with what is computed of constants as constants, where a Pad may read it: else no shape is inferred."""
    if not any(node.op_type == "Pad" for node in model.graph.node):
        return model
    tensors, known = Tensors(model.graph), onnx.ModelProto()
    known.CopyFrom(model)
    del known.graph.node[:]
    for node in model.graph.node:
        if _is_folded(tensors, node):
            values = ((name, tensors.constants[name]) for name in node.output if name)
            known.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values)
        else:
            known.graph.node.append(node)
    return known


def _is_folded(tensors: Tensors, node: onnx.NodeProto) -> bool:
    try:
        return fold_constants(tensors, node)
    except UnsupportedNode:
        return False  # said where the node is read


def is_normalisation(tensors: Tensors, node: onnx.NodeProto) -> bool:
    """Whether it is a step of the normalisation, which is before the first vector that is decomposed.

    Only steps that keep straight lines straight: integrated gradients follows one.

    Raises:
        UnsupportedNode: it converts the picture to another type.
    """
    if tensors.meanings or tensors.input not in node.input or len(node.output) != 1:
        return False
    if node.op_type in {"Cast", "Identity"}:
        require_identity(tensors, node)
        return True
    others = [name for name in node.input if name != tensors.input]
    if node.op_type not in {"Add", "Sub", "Mul", "Div"} or len(others) != 1 or others[0] not in tensors.constants:
        return False
    if node.op_type == "Div" and node.input[0] != tensors.input:
        return False
    return np.prod(tensors.constants[others[0]].shape[-2:]) == 1 or tensors.size(tensors.input) is not None
