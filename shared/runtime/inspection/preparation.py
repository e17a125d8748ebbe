"""What is done to a verified file before it is opened, so that no tensors of a caller end the process that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from shared.isolation import run_isolated, run_isolated_async
from shared.runtime.inspection.onnx_file import OnnxFacts
from shared.runtime.inspection.verification import refused
from shared.settings import Settings

_MODULE: Final = "shared.runtime.inspection.hazards"
_FILE: Final = "/body/file"


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a process may take that does something with a file for the first time.

    Attributes:
        threads: of its session, if it makes one.
        timeout_s: from its start to its answer.
        memory_bytes: of its data.
    """

    threads: int = 1
    timeout_s: float = 60.0
    memory_bytes: int = 4 * 1024**3

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits that an operator has set."""
        return cls(settings.inference_threads, settings.model_trial_timeout_s, settings.model_trial_memory_bytes)


def prepare(content: bytes, facts: OnnxFacts, limits: TrialLimits | None = None) -> bytes:
    """The file to be opened: another one where its operators are hazardous. Blocks, for a second at most in that case.

    Args:
        content: a verified ONNX file.
        facts: what verification found.
        limits: of the process that rewrites it.

    Raises:
        Refused: it is hazardous and cannot be rewritten.
    """
    if not facts.hazardous:
        return content
    limits = limits or TrialLimits()
    try:
        answer = run_isolated(_MODULE, {"memory_bytes": limits.memory_bytes}, content, timeout_s=limits.timeout_s)
    except TimeoutError:
        answer = None
    return _prepared(content, answer)


async def prepare_async(content: bytes, facts: OnnxFacts, limits: TrialLimits) -> bytes:
    """Likewise, without holding up the event loop; the process ends when this is cancelled.

    Raises:
        Refused: as for `prepare`.
    """
    if not facts.hazardous:
        return content
    request = {"memory_bytes": limits.memory_bytes}
    try:
        answer = await run_isolated_async(_MODULE, request, content, timeout_s=limits.timeout_s)
    except TimeoutError:
        answer = None
    return _prepared(content, answer)


def _prepared(content: bytes, answer: tuple[dict[str, Any], bytes] | None) -> bytes:
    if answer is None:
        raise refused(_FILE, "Its operators could not be made safe within the time and memory that are given.")
    said, rewritten = answer
    if "error" in said:
        reason = " ".join(str(said["error"]).split())
        raise refused(_FILE, f"Its operators cannot be made safe. {reason}")
    return rewritten if said["changed"] else content
