from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from deploy.local.lifeline import Lifeline, main

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


@pytest.fixture
def groups() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def start(groups: list[subprocess.Popen[str]], code: str) -> subprocess.Popen[str]:
    """A process group of its own that has got as far as saying so."""
    command = [sys.executable, "-I", "-S", "-c", code]
    groups.append(subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True))
    assert groups[-1].stdout is not None
    assert groups[-1].stdout.readline() == "up\n"
    return groups[-1]


def test_closing_ends_what_is_held_and_spares_what_was_released(groups: list[subprocess.Popen[str]]) -> None:
    held, released = start(groups, SLEEP), start(groups, SLEEP)
    lifeline = Lifeline()
    lifeline.hold(held.pid)
    lifeline.hold(released.pid)
    lifeline.release(released.pid)
    # The child must be reaped meanwhile, or its group exists until the grace is over.
    assert held.poll() is None
    lifeline_closes(lifeline, held)
    assert held.returncode == -signal.SIGTERM
    assert released.poll() is None


def lifeline_closes(lifeline: Lifeline, held: subprocess.Popen[str]) -> None:
    lifeline._pipe.close()
    held.wait(timeout=20)
    lifeline._popen.wait(timeout=20)


def test_who_ignores_the_request_is_killed(groups: list[subprocess.Popen[str]]) -> None:
    stubborn = start(groups, STUBBORN)
    lifeline = Lifeline(grace_s=0.2)
    lifeline.hold(stubborn.pid)
    lifeline_closes(lifeline, stubborn)
    assert stubborn.returncode == -signal.SIGKILL


def test_groups_that_are_gone_are_no_error(groups: list[subprocess.Popen[str]]) -> None:
    gone = start(groups, "print('up')")
    gone.wait()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try:
        main(io.StringIO(f"+{gone.pid}\n"), 0.1)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)


def test_a_dead_lifeline_does_not_stop_the_supervisor() -> None:
    lifeline = Lifeline()
    lifeline._popen.kill()
    lifeline._popen.wait()
    lifeline.hold(1 << 22)
    lifeline.close()
