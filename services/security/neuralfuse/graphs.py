"""What the service needs of ONNX files, made in a process of its own (`isolated_graphs`). Functions here block."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from services.security.neuralfuse.seam import Seam
from shared.isolation import run_isolated
from shared.runtime.inspection.preparation import TrialLimits

if TYPE_CHECKING:
    from services.security.bit_errors.weight_memory import WeightMemory

_MODULE: Final = "services.security.neuralfuse.isolated_graphs"


class UnusableGraph(Exception):
    """A file cannot be used so; the message says why, as the end of a sentence about the model."""


@dataclass(frozen=True, slots=True)
class PreparedGraph:
    """A classifier whose weights are given to each run.

    Attributes:
        graph: ONNX, with an input in place of each tensor of the memory.
        memory: its weights as they are stored.
        macs: multiply-accumulates for one picture; None where they cannot be counted.
    """

    graph: bytes
    memory: WeightMemory
    macs: int | None


def prepare_graph(content: bytes, *, height: int, width: int, limits: TrialLimits) -> PreparedGraph:
    """Take the weights out of a classifier.

    Args:
        content: ONNX.
        height: of its pictures.
        width: of them.
        limits: of the process that does it.

    Raises:
        UnusableGraph: its weights cannot be stored in eight bits, or reading it takes more than the limits give.
    """
    answer, made = _ask({"task": "prepare", "height": height, "width": width}, content, limits)
    border = answer["graph_bytes"]
    return PreparedGraph(made[:border], _memory(answer, memoryview(made)[border:]), answer["macs"])


def count_graph(content: bytes, *, height: int, width: int, limits: TrialLimits) -> int:
    """Multiply-accumulates of a network for one picture.

    Raises:
        UnusableGraph: they cannot be counted.
    """
    return int(_ask({"task": "count", "height": height, "width": width}, content, limits)[0]["macs"])


def fuse_graphs(generator: bytes, base: bytes, seam: Seam, limits: TrialLimits) -> bytes:
    """A generator and a classifier behind it as one ONNX file.

    Raises:
        UnusableGraph: they cannot be made one.
    """
    request = {"task": "fuse", "generator_bytes": len(generator), "seam": asdict(seam)}
    return _ask(request, generator + base, limits)[1]


def _memory(answer: dict[str, Any], stored: memoryview) -> WeightMemory:
    from services.security.bit_errors.weight_memory import StoredTensor, WeightMemory  # the onnx package: 25 MB

    tensors, place = [], 0
    for one in answer["tensors"]:
        count = math.prod(one["shape"])
        values = np.frombuffer(stored[place : place + count], np.int8).reshape(one["shape"])
        place += count
        tensors.append(
            StoredTensor(one["name"], one["layer"], one["operator"], values, one["scale"], np.dtype(one["dtype"]))
        )
    return WeightMemory(tuple(tensors), tuple(answer["computed_layers"]))


def _ask(request: dict[str, Any], content: bytes, limits: TrialLimits) -> tuple[dict[str, Any], bytes]:
    request |= {"memory_bytes": limits.memory_bytes}
    try:
        found = run_isolated(_MODULE, request, content, timeout_s=limits.timeout_s)
    except TimeoutError:
        raise UnusableGraph(f"its file was not read within {limits.timeout_s:g} s") from None
    if found is None:
        raise UnusableGraph("its file ended the process that read it; it may need more memory than is given")
    if "unusable" in found[0]:
        raise UnusableGraph(found[0]["unusable"])
    return found
