"""Reads a classifier's weight memory, runs it on black pictures and times that: a program that `outlines` starts."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.security.bit_error_campaigns.outlines import LayerOutline, Outline, Timing
from services.security.bit_error_campaigns.picture_inputs import (
    PictureInput,
    PictureParameters,
    UnusableClassifier,
    picture_input,
)
from services.security.bit_errors.faults import FaultModel
from services.security.bit_errors.perturbed_sessions import SessionPerNetwork, Signature
from services.security.bit_errors.weight_memory import UnreadableMemory, WeightMemory
from shared.isolation import read_isolated_request, write_isolated_answer
from shared.runtime.inspection.failure_reasons import reason_of
from shared.runtime.session_options import session_options

_DTYPES: Final = {"float": "float32", "double": "float64"}
_TIMED_RATE: Final = 0.01


def main() -> None:
    """Read the request and the file, write the outline or why there is none."""
    request, content = read_isolated_request(sys.stdin.buffer)
    try:
        answer: dict[str, Any] = {"outline": outline(content, request).model_dump(mode="json")}
    except (UnusableClassifier, UnreadableMemory) as error:
        answer = {"unusable": str(error)}
    except Exception as error:  # onnxruntime has a type of its own for each failure
        answer = {"unusable": f"it cannot be opened and run on black pictures: {reason_of(error)}"}
    write_isolated_answer(sys.stdout.buffer, answer)


def outline(content: bytes, request: dict[str, Any]) -> Outline:
    """Find out what a model is.

    Raises:
        UnusableClassifier, UnreadableMemory: no campaign can be run on it.
    """
    memory = WeightMemory.read(content)
    session = onnxruntime.InferenceSession(
        content, sess_options=session_options(request["threads"]), providers=["CPUExecutionProvider"]
    )
    given = _only_input(session)
    dtype, parameters = _dtype_of(given), PictureParameters.model_validate(request["parameters"])
    pictures = picture_input(dtype, given.shape, parameters)
    output, classes = _scores(session, given.name, pictures)
    signature = Signature(given.name, output)
    return Outline(
        input=given.name,
        output=output,
        dtype=dtype,
        shape=[side if isinstance(side, int | str) else None for side in given.shape],
        classes=classes,
        layers=[
            LayerOutline(
                name=tensor.layer,
                operator=tensor.operator,
                weights=tensor.count,
                dtype=tensor.dtype.name,
                bytes_of_graph=tensor.scale is None,
            )
            for tensor in memory.tensors
        ],
        computed_layers=list(memory.computed_layers),
        timing=_timing(content, memory, signature, pictures, request),
    )


def _only_input(session: onnxruntime.InferenceSession) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise UnusableClassifier(f"it has {len(inputs)} inputs ({names}); a classifier of pictures has one")
    return inputs[0]


def _dtype_of(described: Any) -> str:
    kind = str(described.type).removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(kind, kind)


def _black(pictures: PictureInput, count: int) -> NDArray[Any]:
    return np.zeros((count, *pictures.shape), pictures.dtype)


def _scores(session: onnxruntime.InferenceSession, name: str, pictures: PictureInput) -> tuple[str, int]:
    """Name of the output with a score of each class for each picture, and how many classes there are."""
    rows = pictures.batch or 2
    described = session.get_outputs()
    answers = session.run([one.name for one in described], {name: _black(pictures, rows)})
    for one, answer in zip(described, answers, strict=True):
        shape = np.shape(answer)
        scores = getattr(answer, "dtype", np.dtype(object)).kind == "f" and len(shape) >= 2
        if scores and shape[0] == rows and shape[1] > 1 and np.prod(shape[2:], dtype=int) == 1:
            return one.name, int(shape[1])
    found = "; ".join(f"{one.name} {list(np.shape(answer))}" for one, answer in zip(described, answers, strict=True))
    raise UnusableClassifier(
        "none of its outputs holds scores of classes, floating-point [batch, classes]: run on "
        f"{rows} pictures it gives {found}"
    )


def _timing(
    content: bytes, memory: WeightMemory, signature: Signature, pictures: PictureInput, request: dict[str, Any]
) -> Timing:
    """One network, its second batch: the first one makes room."""
    faults = FaultModel(_TIMED_RATE, request["kind"], request["layout"])
    classifier = SessionPerNetwork(content, memory, signature, threads=request["threads"])
    batch = _black(pictures, pictures.batch_size)
    memory.perturbed(faults, 1)
    began = time.perf_counter()
    weights = memory.perturbed(faults, 1)
    perturbed = time.perf_counter()
    classifier.load(weights)
    loaded = time.perf_counter()
    classifier.run(batch)
    warm = time.perf_counter()
    classifier.run(batch)
    done = time.perf_counter()
    return Timing(
        perturb_s=perturbed - began, load_s=loaded - perturbed, batch_s=done - warm, batch=pictures.batch_size
    )


if __name__ == "__main__":
    main()
