"""Reads ONNX files for the service, in a process of its own: `shared.isolation` starts it.

Parsers and shape inference are native code over files that somebody may have uploaded, and the onnx package takes
memory that a service without requests is spared. One task for each request:

- `prepare`: a classifier's weights as a memory, its graph with inputs in their place, which has been run once, its
  multiply-accumulates.
- `count`: the multiply-accumulates of a network alone.
- `fuse`: a generator and a classifier as one graph.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime

from services.security.bit_errors.perturbed_sessions import with_weights_as_inputs
from services.security.bit_errors.weight_memory import UnreadableMemory, WeightMemory
from services.security.neuralfuse.fusion import UnfusableGraphs, fuse
from services.security.neuralfuse.macs import UncountableGraph, count_macs
from services.security.neuralfuse.seam import Seam
from shared.isolation import read_isolated_request, write_isolated_answer
from shared.runtime.session_options import session_options

Answer = tuple[dict[str, Any], bytes]


def main() -> None:
    """Read the request and the files; write what was asked for, or what is wrong with them."""
    request, content = read_isolated_request(sys.stdin.buffer)
    made = b""
    try:
        answer, made = _TASKS[request["task"]](request, content)
    except (UnreadableMemory, UnfusableGraphs, UncountableGraph) as error:
        answer = {"unusable": str(error)}
    except Exception as error:  # a file that was verified can still be nonsense to the onnx package
        answer = {"unusable": f"its file cannot be read ({type(error).__name__})"}
    write_isolated_answer(sys.stdout.buffer, answer, made)


def _prepare(request: dict[str, Any], content: bytes) -> Answer:
    memory = WeightMemory.read(content)
    if unusual := [one.layer for one in memory.tensors if one.dtype.kind not in "fiu"]:
        raise UnreadableMemory(f"the weights of {unusual[0]} are in a type that is not run here")
    graph = with_weights_as_inputs(content, memory)
    _try(graph, memory, request["height"], request["width"])
    macs: int | None = None
    with suppress(UncountableGraph):
        macs = _macs(request, content)
    tensors = [
        {
            "name": one.name,
            "layer": one.layer,
            "operator": one.operator,
            "shape": list(one.shape),
            "scale": one.scale,
            "dtype": one.dtype.name,
        }
        for one in memory.tensors
    ]
    stored = [np.ascontiguousarray(one.values).tobytes() for one in memory.tensors]
    answer = {
        "macs": macs,
        "graph_bytes": len(graph),
        "tensors": tensors,
        "computed_layers": list(memory.computed_layers),
    }
    return answer, b"".join([graph, *stored])


def _try(graph: bytes, memory: WeightMemory, height: int, width: int) -> None:
    """Run it on a black picture, with the weights as they were written."""
    session = onnxruntime.InferenceSession(graph, sess_options=session_options(1), providers=["CPUExecutionProvider"])
    weights = memory.read_faultless()
    pictures = {one.name: np.zeros((1, 3, height, width), np.float32) for one in session.get_inputs()}
    session.run(None, pictures | weights)


def _count(request: dict[str, Any], content: bytes) -> Answer:
    return {"macs": _macs(request, content)}, b""


def _macs(request: dict[str, Any], content: bytes) -> int:
    return count_macs(onnx.load_model_from_string(content), height=request["height"], width=request["width"])


def _fuse(request: dict[str, Any], content: bytes) -> Answer:
    border = request["generator_bytes"]
    generator, base = (onnx.load_model_from_string(one) for one in (content[:border], content[border:]))
    joint = fuse(generator, base, Seam(**request["seam"]))
    return {}, joint.SerializeToString()


_TASKS: Final[Mapping[str, Callable[[dict[str, Any], bytes], Answer]]] = {
    "prepare": _prepare,
    "count": _count,
    "fuse": _fuse,
}


if __name__ == "__main__":
    main()
