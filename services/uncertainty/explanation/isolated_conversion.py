"""Reads and extends a classifier that somebody uploaded, in a process of its own, and runs what came of it once.

`shared.isolation` starts it. The parsers, the shape inference and the session are native code over what a
stranger wrote: what goes wrong there ends this process and no service.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
import onnxruntime

from services.uncertainty.explanation.graphs import GraphKind, extended_file, outline_of
from services.uncertainty.explanation.networks.graph import UnsupportedNetwork, UnusableModel
from services.uncertainty.explanation.onnx_graphs.verification import verify
from shared.isolation import read_isolated_request, write_isolated_answer
from shared.runtime.session_options import session_options


def main() -> None:
    """Read the request and the file; write the outline or the extended file, or what is wrong."""
    request, content = read_isolated_request(sys.stdin.buffer)
    made = b""
    try:
        answer, made = _answer(request, content)
    except UnusableModel as error:
        answer = {"unusable": error.parts}
    except UnsupportedNetwork as error:
        answer = {"unsupported": error.parts}
    except Exception as error:  # a file that was verified can still be nonsense to shape inference or to the rules
        answer = {"unusable": [f"it cannot be converted ({type(error).__name__})"]}
    write_isolated_answer(sys.stdout.buffer, answer, made)


def _answer(request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    model = onnx.load_model_from_string(content)
    if request["kind"] is None:
        verify(model)
        return {"outline": asdict(outline_of(model))}, b""
    file = extended_file(model, GraphKind[request["kind"]], request["layers"])
    _try(file.content)
    return {"outputs": file.outputs}, file.content


def _try(content: bytes) -> None:
    """Run it on one black picture."""
    session = onnxruntime.InferenceSession(content, sess_options=session_options(1), providers=["CPUExecutionProvider"])
    feed = {one.name: _zeros(one) for one in session.get_inputs()}
    session.run(None, feed)


def _zeros(described: Any) -> np.ndarray[Any, Any]:
    dtype = np.int64 if described.type == "tensor(int64)" else np.float32
    return np.zeros([side if isinstance(side, int) else 1 for side in described.shape], dtype)


if __name__ == "__main__":
    main()
