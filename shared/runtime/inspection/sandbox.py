"""Starts trials of models in processes of their own, and says why one failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.isolation import run_isolated_async
from shared.runtime.cards import TensorDescription, UploadedCard
from shared.runtime.inspection.failure_reasons import reason_of
from shared.runtime.inspection.onnx_file import TensorFact
from shared.runtime.inspection.preparation import TrialLimits
from shared.runtime.inspection.verification import fits, refused
from shared.runtime.warm_up import InputShape, WarmUp, WarmUpFault

_WORKER: Final = "shared.runtime.inspection.sandbox_worker"
_FILE: Final = "/body/file"
_WARM_UP: Final = "/body/card/parameters/warm_up"


def input_shapes(card: UploadedCard) -> list[InputShape]:
    """The inputs of a card, as they are needed to make arrays for them."""
    return [InputShape(one.name, one.dtype, one.shape) for one in card.inputs]


def require_warm_up(card: UploadedCard) -> None:
    """Refuse a card whose `parameters.warm_up` cannot be followed.

    Raises:
        Refused: a size or an example in it is none of this model.
    """
    try:
        warm_up = WarmUp.read(card.parameters)
        if warm_up.examples:
            warm_up.arrays(input_shapes(card))
    except WarmUpFault as fault:
        raise refused(_WARM_UP + fault.place, fault.detail) from None


async def try_model(content: bytes, card: UploadedCard, limits: TrialLimits) -> int:
    """Open and run a verified model where it can do no harm.

    A model that opens and does not run is refused, although a caller's tensors might suit it: nothing would be known of
    its answers. The refusal says how its card gives tensors that do.

    Args:
        content: the ONNX file, prepared.
        card: what it is said to be.
        limits: of the process.

    Returns:
        The size of named axes that it ran with.

    Raises:
        Refused: it crashed, took too long or too much, or is not what the card says.
    """
    require_warm_up(card)
    request = {
        "threads": limits.threads,
        "memory_bytes": limits.memory_bytes,
        **card.model_dump(mode="json", include={"inputs", "outputs", "parameters"}),
    }
    try:
        output = await run_isolated_async(_WORKER, request, content, timeout_s=limits.timeout_s)
    except TimeoutError:
        raise refused(_FILE, f"It was not open and run on zeros within {limits.timeout_s:g} s.") from None
    if output is None:
        raise refused(_FILE, "It ended the process that opened it; it may need more memory than is given.")
    answer = output[0]
    if "error" in answer:
        raise refused(_FILE, f"onnxruntime does not open it: {reason_of(answer['error'])}")
    _compare("inputs", card.inputs, answer["inputs"])
    _compare("outputs", card.outputs, answer["outputs"])
    if "failure" in answer:
        raise refused(_WARM_UP, _advice(card, reason_of(answer["failure"])))
    _compare_answers(card.outputs, answer["ran"], rows=answer["rows"])
    return int(answer["size"])


def _advice(card: UploadedCard, reason: str) -> str:
    """What to do about a model that opens and does not run."""
    names = [one.name for one in card.inputs]
    sizes = sorted({side for one in card.inputs for side in one.shape if isinstance(side, str) and side != "batch"})
    said = f" Sizes go beside inputs, by axis: {', '.join(sizes)}." if sizes else ""
    return (
        f"onnxruntime opens the model and does not run it on zeros and empty texts: {reason.rstrip('.')}. If it takes "
        f"other values, give some in parameters.warm_up.inputs of the card, by input ({', '.join(names)}): a single "
        f"value to fill the tensor with, or nested lists.{said}"
    )


def _compare(side: str, described: Sequence[TensorDescription], seen: Sequence[Mapping[str, Any]]) -> None:
    """Hold the card against what the session says."""
    facts = {str(one["name"]): TensorFact(one["name"], one["dtype"], tuple(one["shape"])) for one in seen}
    if facts.keys() != {tensor.name for tensor in described}:
        raise refused(f"/body/card/{side}", f"The session has {', '.join(facts) or 'none'}.")
    for index, tensor in enumerate(described):
        fact = facts[tensor.name]
        if tensor.dtype != fact.dtype:
            raise refused(f"/body/card/{side}/{index}/dtype", f"{fact.name} is {fact.dtype} in the session.")
        # A scalar and a tensor of unknown rank look alike there; the file was asked before.
        if fact.shape and not fits(tensor.shape, fact):
            raise refused(f"/body/card/{side}/{index}/shape", f"{fact.name} is {list(fact.shape)} in the session.")


def _compare_answers(described: Sequence[TensorDescription], ran: Sequence[Mapping[str, Any]], *, rows: int) -> None:
    """What a run on some rows gave must have the sizes that the card fixes."""
    for index, (tensor, answer) in enumerate(zip(described, ran, strict=True)):
        wanted = [rows if side == "batch" else side for side in tensor.shape]
        found: list[int] = answer["shape"]
        if len(wanted) != len(found) or any(isinstance(w, int) and w != f for w, f in zip(wanted, found, strict=True)):
            detail = f"{tensor.name} came as {found} when the model was run on {rows} row{'s'[: rows != 1]}."
            raise refused(f"/body/card/outputs/{index}/shape", detail)
