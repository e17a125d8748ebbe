"""Opens a model for the first time, in a process of its own (`python -m`), with the request on standard input.

A graph that crashes, hangs or takes all memory while it is opened or first run takes this process with it and no
service. It loads little besides onnxruntime, so that it is up in a moment. `inspection.sandbox` starts it.
"""

from __future__ import annotations

import sys
from typing import Any

import onnxruntime

from shared.isolation import read_isolated_request, write_isolated_answer
from shared.runtime.session_options import session_options
from shared.runtime.warm_up import InputShape, WarmUp

SIZES = (64, 32, 224, 1)
"""Tried in turn for axes of any size, until the model runs; `parameters.warm_up` of the card names others by axis."""


def main() -> None:
    """Read the request and the file, write the answer."""
    request, content = read_isolated_request(sys.stdin.buffer)
    try:
        answer = attempt(content, request)
    except Exception as error:  # whatever onnxruntime raises is the answer
        answer = {"error": str(error)}
    write_isolated_answer(sys.stdout.buffer, answer)


def attempt(content: bytes, request: dict[str, Any]) -> dict[str, Any]:
    """Open the model and run it on zeros, or on the examples of its card.

    Args:
        content: the ONNX file.
        request: `threads`, and the card's `inputs`, `outputs` and `parameters`.

    Returns:
        `inputs` and `outputs` as the session sees them; then `size` of open axes and `rows` of the batch that it ran
        with and the shape and dtype of each output in `ran`, or why it did not run in `failure`.
    """
    session = onnxruntime.InferenceSession(
        content, sess_options=session_options(request["threads"]), providers=["CPUExecutionProvider"]
    )
    seen = {side: [_described(node) for node in nodes] for side, nodes in _nodes(session)}
    inputs = [InputShape(one["name"], one["dtype"], one["shape"]) for one in request["inputs"]]
    names, warm_up = [output["name"] for output in request["outputs"]], WarmUp.read(request["parameters"])
    failure = ""
    for size in SIZES if _has_open_axes(inputs) else SIZES[:1]:
        try:
            feeds = warm_up.arrays(inputs, size=size)
            outputs = session.run(names, feeds)
        except Exception as error:  # a type of its own per failure
            failure = str(error)
            continue
        ran = [{"shape": list(output.shape), "dtype": _dtype(output)} for output in outputs]
        return {**seen, "size": size, "rows": _rows(inputs, feeds), "ran": ran}
    return {**seen, "failure": failure}


def _nodes(session: onnxruntime.InferenceSession) -> list[tuple[str, Any]]:
    return [("inputs", session.get_inputs()), ("outputs", session.get_outputs())]


def _described(node: Any) -> dict[str, Any]:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    return {"name": node.name, "dtype": dtype, "shape": node.shape}


def _rows(inputs: list[InputShape], feeds: dict[str, Any]) -> int:
    sizes = (zip(one.shape, feeds[one.name].shape, strict=True) for one in inputs)
    return next((size for pairs in sizes for side, size in pairs if side == "batch"), 1)


def _dtype(output: Any) -> str:
    return "string" if output.dtype == object else str(output.dtype)


def _has_open_axes(inputs: list[InputShape]) -> bool:
    return any(isinstance(side, str) and side != "batch" for tensor in inputs for side in tensor.shape)


if __name__ == "__main__":
    main()
