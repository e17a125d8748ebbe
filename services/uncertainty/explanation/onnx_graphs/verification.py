"""A converted classifier is run once before it is answered: whether it was read right, and whether relevance adds up.

Reading is checked by its consequence. What was read, run under the activation pattern of a picture on that same
picture, has to give the model's own logits; an attribute that was passed over changes them. Then the relevance of the
pixels, with what is known to belong to nobody, has to add up to the logit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from services.uncertainty.explanation.networks.graph import UnusableModel
from services.uncertainty.explanation.networks.preparation import prepared
from services.uncertainty.explanation.onnx_graphs.conversion import (
    EXPLAINED,
    LOST,
    PATTERN_LOGITS,
    RELEVANCE,
    SUBSTITUTE,
    TARGET,
    with_explanation,
)
from shared.runtime.session_options import session_options

READING_TOLERANCE: Final = 1e-3
"""Largest difference of two ways to the logits, over the largest logit: float32 sums in two orders."""

PRECISION_TOLERANCE: Final = 0.05
"""The same between the file's own precision and float32."""

CONSERVATION_TOLERANCE: Final = 5e-3
"""Largest difference of the relevance's sum and the logit, over the logit."""

_CANCELLATION: Final = 1e-4
"""The same over the sum of |relevance|: shares of both signs cancel."""


def verify(model: onnx.ModelProto) -> None:
    """Convert a classifier and run both on one picture of noise.

    Raises:
        UnsupportedNetwork: a part of it has no rule.
        UnusableModel: it does not run, was not read right, or its relevance does not add up.
    """
    ready = prepared(model)
    described = ready.graph.input[0]
    pictures = _noise(described)
    trial = with_explanation(model, patterns=True, lost=True)
    own = _run(model, {described.name: _in_type(pictures, model, described.name)}, "the model")[0]
    feed: dict[str, NDArray[Any]] = {
        described.name: pictures,
        SUBSTITUTE: pictures,
        TARGET: np.full(len(pictures), -1, np.int64),
    }
    outputs = _run(trial, feed, "the converted model")
    found = dict(zip((item.name for item in trial.graph.output), outputs, strict=True))
    logits = outputs[0]
    _require_equal(own, logits, PRECISION_TOLERANCE, "it answers otherwise in float32")
    _require_equal(logits, found[PATTERN_LOGITS], READING_TOLERANCE, "its parts were not understood")
    _require_conservation(logits, found)


def _noise(described: onnx.ValueInfoProto) -> NDArray[np.float32]:
    sides = [axis.dim_value or default for axis, default in zip(described.type.tensor_type.shape.dim, (1, 3, 0, 0))]  # noqa: B905
    return np.random.default_rng(0).random(sides, dtype=np.float32)


def _in_type(pictures: NDArray[np.float32], model: onnx.ModelProto, name: str) -> NDArray[Any]:
    kind = next(item.type.tensor_type.elem_type for item in model.graph.input if item.name == name)
    return pictures.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _run(model: onnx.ModelProto, feed: dict[str, NDArray[Any]], what: str) -> list[NDArray[Any]]:
    import onnxruntime  # 20 MB, which the service that only starts the converter is spared

    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), sess_options=session_options(1), providers=["CPUExecutionProvider"]
        )
        outputs: list[NDArray[Any]] = session.run(None, feed)
    except Exception as error:  # onnxruntime has an exception for each of its states
        reason = " ".join(str(error).split())[:200]
        raise UnusableModel([f"onnxruntime does not run {what} ({reason})"]) from None
    return outputs


def _require_equal(one: NDArray[Any], other: NDArray[Any], tolerance: float, fault: str) -> None:
    size = float(np.abs(one.astype(np.float64)).max(initial=1e-3))
    apart = float(np.abs(one.astype(np.float64) - other).max(initial=0.0)) if one.shape == other.shape else np.inf
    if not apart <= tolerance * size:
        raise UnusableModel([f"{fault}: logits differ by {apart:.3g} of {size:.3g}"])


def _require_conservation(logits: NDArray[Any], found: dict[str, NDArray[Any]]) -> None:
    rows = np.arange(len(logits))
    wanted = logits[rows, found[EXPLAINED]].astype(np.float64)
    relevance = found[RELEVANCE].astype(np.float64)
    total = relevance.sum(axis=(1, 2)) + found[LOST]
    allowed = CONSERVATION_TOLERANCE * np.abs(wanted) + _CANCELLATION * np.abs(relevance).sum(axis=(1, 2)) + 1e-4
    if not (np.abs(total - wanted) <= allowed).all():
        raise UnusableModel([f"relevance adds up to {total[0]:.5g} where the logit is {wanted[0]:.5g}"])
