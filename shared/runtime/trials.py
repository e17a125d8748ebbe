"""Starts trials of models in processes of their own, and says why one failed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.runtime.cards import TensorDescription, UploadedCard
from shared.runtime.onnx_file import TensorFact
from shared.runtime.verification import fits, refused

_ROOT: Final = Path(__file__).parents[2]
_REASON_CHARACTERS: Final = 400
_FILE: Final = "/body/file"


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a trial may take.

    Attributes:
        threads: of its session.
        timeout_s: from its start to its answer.
        memory_bytes: of its data.
    """

    threads: int = 1
    timeout_s: float = 60.0
    memory_bytes: int = 4 * 1024**3


def warm_up_sizes(card: UploadedCard) -> dict[str, int]:
    """Sizes of named axes to warm up with: `parameters.warm_up` of the card.

    Raises:
        Refused: it is no object of whole numbers.
    """
    sizes = card.parameters.get("warm_up", {})
    if not isinstance(sizes, dict) or any(type(size) is not int or not 0 < size <= 4096 for size in sizes.values()):
        raise refused("/body/card/parameters/warm_up", "This must name sizes of axes, whole numbers from 1 to 4096.")
    return {name: int(str(size)) for name, size in sizes.items()}


async def try_model(content: bytes, card: UploadedCard, limits: TrialLimits) -> int:
    """Open and run a verified model where it can do no harm.

    Args:
        content: the ONNX file.
        card: what it is said to be.
        limits: of the process.

    Returns:
        The size of named axes that it ran with.

    Raises:
        Refused: it crashed, took too long or too much, or is not what the card says.
    """
    request = {
        "threads": limits.threads,
        "memory_bytes": limits.memory_bytes,
        "sizes": warm_up_sizes(card),
        **card.model_dump(mode="json", include={"inputs", "outputs"}),
    }
    output = await _run(json.dumps(request).encode() + b"\n" + content, limits)
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        raise refused(_FILE, "It ended the process that opened it; it may need more memory than is given.") from None
    if "error" in answer:
        reason = " ".join(str(answer["error"]).split())[:_REASON_CHARACTERS]
        raise refused(_FILE, f"onnxruntime does not open or run it: {reason}")
    _compare("inputs", card.inputs, answer["inputs"])
    _compare("outputs", card.outputs, answer["outputs"])
    _compare_answers(card.outputs, answer["ran"])
    return int(answer["size"])


async def _run(request: bytes, limits: TrialLimits) -> bytes:
    """What the process writes. In threads, as event loops differ in whether two of them may start processes at once."""
    process = _start()
    try:
        return await asyncio.to_thread(_converse, process, request, limits.timeout_s)
    finally:
        process.kill()  # also where this is cancelled; the thread then sees its end


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "shared.runtime.trial"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=_ROOT,
        env={"PATH": os.environ.get("PATH", "")},  # no setting, no secret
    )


def _converse(process: subprocess.Popen[bytes], request: bytes, timeout_s: float) -> bytes:
    with process:
        try:
            return process.communicate(request, timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise refused(_FILE, f"It was not open and run on zeros within {timeout_s:g} s.") from None


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


def _compare_answers(described: Sequence[TensorDescription], ran: Sequence[Mapping[str, Any]]) -> None:
    """What a run on one row of zeros gave must have the sizes that the card fixes."""
    for index, (tensor, answer) in enumerate(zip(described, ran, strict=True)):
        wanted = [1 if side == "batch" else side for side in tensor.shape]
        found: list[int] = answer["shape"]
        if len(wanted) != len(found) or any(isinstance(w, int) and w != f for w, f in zip(wanted, found, strict=True)):
            detail = f"{tensor.name} came as {found} when the model was run on one row of zeros."
            raise refused(f"/body/card/outputs/{index}/shape", detail)
