"""What a model says when it cannot compute the tensors that it was sent."""

from __future__ import annotations


def computation_failures() -> tuple[type[Exception], ...]:
    """What a run raises when it is the tensors' fault; each is a type of its own under Exception.

    `shared.runtime.inspection.failure_reasons` makes their texts fit to be told. A function, so that onnxruntime is
    imported by processes that run models only.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    return (states.InvalidArgument, states.Fail, states.RuntimeException, states.NotImplemented)
