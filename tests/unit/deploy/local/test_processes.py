from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.processes import Process, Specification, Tier, describe_exit
from tests.support.processes import runs, until

Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python code as a process of the fleet; ends it after the test."""
    started: list[Process] = []

    def run(code: str) -> Process:
        specification = Specification(
            name="stand-in",
            command=(sys.executable, "-I", "-S", "-c", code),
            tier=Tier.BACKEND,
            ready=lambda: None,
            alive=lambda: None,
            environment={"FACET_TEST": "told"},
        )
        started.append(Process(specification, tmp_path / "stand-in.log"))
        return started[-1]

    yield run
    for process in started:
        process.kill()


def test_output_and_environment_reach_the_log(start: Start) -> None:
    process = start("import os, sys; print(os.environ['FACET_TEST']); print('oh', file=sys.stderr); sys.exit(3)")
    until(lambda: process.exit_code() is not None)
    assert process.exit_code() == 3
    assert sorted(process.tail(10)) == ["oh", "told"]


def test_the_tail_is_the_end_of_the_log(start: Start) -> None:
    process = start("for line in range(10000): print(line)")
    until(lambda: process.exit_code() is not None)
    assert process.tail(2) == ["9998", "9999"]


def test_asked_to_stop_it_ends_by_sigterm(start: Start) -> None:
    process = start("import time; print('up', flush=True); time.sleep(60)")
    until(lambda: process.tail(1) == ["up"])
    process.ask_to_stop()
    until(lambda: process.exit_code() is not None)
    assert describe_exit(process.exit_code() or 0) == "killed by SIGTERM"


def test_killing_takes_the_grandchildren_along(start: Start) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    process = start(code)
    until(lambda: bool(process.tail(1)))
    grandchild = int(process.tail(1)[0])
    process.kill()
    assert process.exit_code() == -9
    until(lambda: not runs(grandchild))


def test_killing_what_has_ended_is_no_error(start: Start) -> None:
    process = start("pass")
    until(lambda: process.exit_code() is not None)
    process.kill()
    process.ask_to_stop()


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (2, "exit code 2"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
