"""Opens a model for the first time, in a process of its own: `python -m shared.runtime.trial < request`.

A graph that crashes, hangs or takes all memory while it is opened or first run takes this process with it and no
service. The process gets no environment, no secrets and bounded memory. It loads little besides
onnxruntime, so that it is up in a moment. `shared.runtime.trials` starts it.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import onnxruntime

from shared.runtime.session_options import session_options
from shared.runtime.zeros import zeros

SIZES = (64, 32, 224, 1)
"""Tried in turn for axes of any size, until the model runs; `parameters.warm_up` of the card names others by axis."""


def main() -> None:
    """Read the request (JSON in the first line, then the file), write one line of JSON."""
    request = json.loads(sys.stdin.buffer.readline())
    resource.setrlimit(resource.RLIMIT_DATA, (request["memory_bytes"], request["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = attempt(sys.stdin.buffer.read(), request)
    except Exception as error:  # whatever onnxruntime raises is the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer))


def attempt(content: bytes, request: dict[str, Any]) -> dict[str, Any]:
    """Open the model and run it on zeros.

    Args:
        content: the ONNX file.
        request: `threads`, and the card's `inputs`, `outputs` and `sizes` by name of an axis.

    Returns:
        `inputs` and `outputs` as the session sees them, `size` of open axes that it ran with, and the shape and dtype
        of each output in `ran`.
    """
    session = onnxruntime.InferenceSession(
        content, sess_options=session_options(request["threads"]), providers=["CPUExecutionProvider"]
    )
    seen = {side: [_described(node) for node in nodes] for side, nodes in _nodes(session)}
    names = [output["name"] for output in request["outputs"]]
    for size in SIZES:
        feeds = {
            tensor["name"]: zeros(tensor["shape"], tensor["dtype"], size=size, sizes=request["sizes"])
            for tensor in request["inputs"]
        }
        try:
            outputs = session.run(names, feeds)
        except Exception:
            if size == SIZES[-1] or not _has_open_axes(request):
                raise
            continue
        ran = [{"shape": list(output.shape), "dtype": _dtype(output)} for output in outputs]
        return {**seen, "size": size, "ran": ran}
    raise AssertionError("unreachable")  # the last size either runs or raises


def _nodes(session: onnxruntime.InferenceSession) -> list[tuple[str, Any]]:
    return [("inputs", session.get_inputs()), ("outputs", session.get_outputs())]


def _described(node: Any) -> dict[str, Any]:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    return {"name": node.name, "dtype": dtype, "shape": node.shape}


def _dtype(output: Any) -> str:
    return "string" if output.dtype == object else str(output.dtype)


def _has_open_axes(request: dict[str, Any]) -> bool:
    return any(isinstance(side, str) and side != "batch" for tensor in request["inputs"] for side in tensor["shape"])


if __name__ == "__main__":
    main()
