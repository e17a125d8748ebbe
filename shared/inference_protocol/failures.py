"""What onnxruntime says of tensors that a graph cannot compute, fit for the caller's eyes."""

from __future__ import annotations

import re
from typing import Final

_CHARACTERS: Final = 300
_NODE = re.compile(r"while running (\w+) node")
_WHERE_IN_ITS_SOURCE = re.compile(r"\S*/\S+:\d+ (?:[^()]*\([^()]*\)(?: const)? )?")
_PATH = re.compile(r"(?<![\w.])(?:/[\w.+-]+){2,}")


def computation_failures() -> tuple[type[Exception], ...]:
    """What a run raises when it is the tensors' fault; each is a type of its own under Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    return (states.InvalidArgument, states.Fail, states.RuntimeException, states.NotImplemented)


def reason_of(failure: Exception) -> str:
    """The reason, in a line: without codes, files and signatures of onnxruntime's own source, and without paths."""
    said = " ".join(str(failure).split())
    node = _NODE.search(said)
    reason = said.rpartition("Status Message: ")[2] if node else said.rpartition("[ONNXRuntimeError] : ")[2]
    reason = re.sub(r"^\d+ : \w+ : ", "", reason)
    reason = _PATH.sub("...", _WHERE_IN_ITS_SOURCE.sub("", reason))
    return (f"{node[1]}: {reason}" if node else reason)[:_CHARACTERS]
