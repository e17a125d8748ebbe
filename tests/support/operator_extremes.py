"""`python -m tests.support.operator_extremes numbers|empty`: graphs of one operator on what is at the edge.

A program of its own that forks for every case, since what it looks for ends the process. It writes one JSON line for
each: the case, and what came of it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import onnxruntime

from shared.runtime.inspection.onnx_file import read_onnx
from shared.runtime.inspection.preparation import prepare
from tests.support.empty_tensors import Array, Case, empty_tensors, graph

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
BINARY: dict[str, tuple[str, dict[str, Any]]] = {
    "Div": ("Div", {}),
    "Mod": ("Mod", {}),
    "fmod": ("Mod", {"fmod": 1}),
    "Pow": ("Pow", {}),
    "BitShift left": ("BitShift", {"direction": "LEFT"}),
    "BitShift right": ("BitShift", {"direction": "RIGHT"}),
    "Sub": ("Sub", {}),
    "Mul": ("Mul", {}),
}


def edges(dtype: str) -> list[int]:
    """Numbers at which integers of a type go wrong."""
    limits = np.iinfo(dtype)
    few = [int(limits.min), int(limits.max), 0, 1, 2, 7]
    return [*few, -1, -2] if limits.min else few


def extreme_numbers() -> Iterator[Case]:
    """Every pair of edges through the operators of two integers, a run for each, as a fault spoils all of a run."""
    for (label, (operator, attributes)), dtype in product(BINARY.items(), INTEGERS):
        feeds = [
            {"a": np.full(3, first, dtype), "b": np.full(3, second, dtype)}
            for first, second in product(edges(dtype), repeat=2)
        ]
        yield f"{label} {dtype}", graph(operator, feeds[0], **attributes), feeds


def outcomes(content: bytes, runs: list[dict[str, Array]]) -> Any:
    """What comes of each run: shapes and first values, or what onnxruntime says."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        prepared = prepare(content, read_onnx(content))
        session = onnxruntime.InferenceSession(prepared, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return {"refused": str(error)}
    return {"runs": [_outcome(session, feeds) for feeds in runs]}


def _outcome(session: onnxruntime.InferenceSession, feeds: dict[str, Array]) -> Any:
    try:
        found = session.run(None, feeds)
    except Exception as error:
        return {"failed": str(error)}
    return {"shapes": [list(one.shape) for one in found], "values": [one.reshape(-1)[:1].tolist() for one in found]}


def isolated(content: bytes, runs: list[dict[str, Array]]) -> Any:
    """`outcomes` in a process of its own; the signal that ended it in `died`."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(outcomes(content, runs)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    status = os.waitpid(child, 0)[1]
    return {"died": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else json.loads(said)


def main() -> None:
    grouped: dict[bytes, tuple[str, list[dict[str, Array]]]] = {}
    for label, content, runs in {"numbers": extreme_numbers, "empty": empty_tensors}[sys.argv[1]]():
        grouped.setdefault(content, (label, []))[1].extend(runs)
    for content, (label, runs) in grouped.items():
        print(json.dumps([label, isolated(content, runs)]))


if __name__ == "__main__":
    main()
