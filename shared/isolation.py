"""Runs a module of Facet on other people's bytes in a process of its own: no environment, no secrets, bounded memory.

What crashes, hangs or takes all memory there takes that process with it and no service.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, Final

_ROOT: Final = Path(__file__).parents[1]


def read_isolated_request(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """What the process is asked, read within it; its memory is bounded from here on.

    Returns:
        The request (its `memory_bytes` is the bound), and the bytes that it is about.
    """
    request: dict[str, Any] = json.loads(stream.readline())
    resource.setrlimit(resource.RLIMIT_DATA, (request["memory_bytes"], request["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return request, stream.read()


def write_isolated_answer(stream: BinaryIO, answer: dict[str, Any], content: bytes = b"") -> None:
    """Answer from within the process."""
    stream.write(json.dumps(answer).encode() + b"\n" + content)
    stream.flush()


def run_isolated(
    module: str, request: dict[str, Any], content: bytes, *, timeout_s: float
) -> tuple[dict[str, Any], bytes] | None:
    """Run a module that reads such a request and writes such an answer. Blocks.

    Args:
        module: to run as a program.
        request: JSON, with `memory_bytes`.
        content: what it is about.
        timeout_s: from its start to its answer.

    Returns:
        Its answer, and the bytes behind it; None where it ended without one.

    Raises:
        TimeoutError: there was none in time.
    """
    return _converse(_start(module), request, content, timeout_s)


async def run_isolated_async(
    module: str, request: dict[str, Any], content: bytes, *, timeout_s: float
) -> tuple[dict[str, Any], bytes] | None:
    """Likewise; the process ends when this is cancelled."""
    process = _start(module)  # Popen and a thread, as event loops differ in whether two may start processes at once
    try:
        return await asyncio.to_thread(_converse, process, request, content, timeout_s)
    finally:
        process.kill()  # where this was cancelled, the thread then sees its end


def _start(module: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=_ROOT,
        env={"PATH": os.environ.get("PATH", "")},
    )


def _converse(
    process: subprocess.Popen[bytes], request: dict[str, Any], content: bytes, timeout_s: float
) -> tuple[dict[str, Any], bytes] | None:
    with process:
        try:
            output = process.communicate(json.dumps(request).encode() + b"\n" + content, timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise TimeoutError from None
    line, _, rest = output.partition(b"\n")
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return answer, rest
