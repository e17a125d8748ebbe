"""What a run of a model raises when it is the tensors' fault."""

from __future__ import annotations

from typing import Final

from onnxruntime.capi import onnxruntime_pybind11_state as states

COMPUTATION_FAILURES: Final[tuple[type[Exception], ...]] = (
    states.InvalidArgument,
    states.Fail,
    states.RuntimeException,
    states.NotImplemented,
)
"""Each is a type of its own under Exception; `shared.runtime.failure_reasons` makes their texts fit to be told."""
