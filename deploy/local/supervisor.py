"""Starts processes, watches them, starts again what dies, and stops all in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.lifeline import Lifeline
from deploy.local.processes import Process, Specification, Tier, describe_exit

Say = Callable[[str], None]

_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Policy:
    """Times of the supervisor, in seconds."""

    tick_s: float = 0.1
    """Between two looks at the processes."""
    first_delay_s: float = 0.5
    """Before the first restart of a process; doubles with each death in a row."""
    longest_delay_s: float = 15.0
    steady_s: float = 30.0
    """A process that lived this long has its earlier deaths forgiven."""
    start_attempts: int = 4
    """Deaths in a row before the first readiness of all that end the whole start."""
    start_timeout_s: float = 180.0
    """Until everything must have been ready once, and a process started again must have answered."""
    alive_every_s: float = 5.0
    silent_limit: int = 6
    """Times in a row that a process which has answered before may not answer; then it is killed and started again."""


class StartFailed(Exception):
    """The fleet did not get ready; the message says which process and why."""


class _Member:
    """What the supervisor remembers of one specification over the lives of its processes."""

    def __init__(self, specification: Specification, log: Path) -> None:
        self.specification = specification
        self.log = log
        self.process: Process | None = None
        self.deaths = 0
        self.start_at = 0.0
        self.ready = False
        self.answered = False
        self.silent = 0
        self.missing = "not started"

    @property
    def name(self) -> str:
        return self.specification.name


class Supervisor:
    """Runs a list of processes until asked to stop.

    Args:
        specifications: what to run.
        logs: folder of one log file per process; the previous run's are kept with the suffix .old.
        say: prints one line for people.
        policy: times and limits.
        on_change: called with the process ids by name when all are ready, and again after each restart.
    """

    def __init__(
        self,
        specifications: Sequence[Specification],
        *,
        logs: Path,
        say: Say,
        policy: Policy | None = None,
        on_change: Callable[[dict[str, int]], None] = lambda _: None,
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._members = [_Member(each, _fresh_log(logs / f"{each.name}.log")) for each in specifications]
        self._say = say
        self._policy = policy or Policy()
        self._on_change = on_change
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._all_ready = False
        self._looked_at = 0.0
        self._lifeline = Lifeline()

    def request_stop(self) -> None:
        """Stop in order; asked a second time, stop at once. Safe to call from signal handlers and threads."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def run(self) -> None:
        """Start everything and keep it running until `request_stop`; leaves no process behind.

        Raises:
            StartFailed: a process dies again and again, or is not ready in time; all others were stopped.
        """
        try:
            began = time.monotonic()
            self._start_in_order(began + self._policy.start_timeout_s)
            if not self._stopping.is_set():
                self._all_ready = True
                self._say(f"all ready after {time.monotonic() - began:.1f} s")
                self._changed()
            while not self._stopping.wait(self._policy.tick_s):
                self._tick()
                self._look_for_silent()
        finally:
            self._stop_in_order()

    def _start_in_order(self, deadline: float) -> None:
        """The store first, as all others ask it for something; then the rest side by side."""
        lowest = [member for member in self._members if member.specification.tier is Tier.STORE]
        rest = [member for member in self._members if member.specification.tier is not Tier.STORE]
        for wave in (lowest, rest):
            for member in wave:
                self._start(member)
            while not all(member.ready for member in wave):
                if self._stopping.wait(self._policy.tick_s):
                    return
                self._tick()
                self._ask_if_ready(wave)
                if time.monotonic() > deadline:
                    waiting = [f"{member.name} ({member.missing})" for member in wave if not member.ready]
                    raise StartFailed(f"not ready within {self._policy.start_timeout_s:.0f} s: {', '.join(waiting)}")

    def _start(self, member: _Member) -> None:
        member.process = Process(member.specification, member.log)
        member.answered, member.silent = False, 0
        self._lifeline.hold(member.process.pid)

    def _ask_if_ready(self, members: Iterable[_Member]) -> None:
        for member in members:
            if member.ready or member.process is None:
                continue
            member.missing = member.specification.ready() or ""
            if not member.missing and member.process.exit_code() is None:
                member.ready = member.answered = True
                self._introduce(member, member.process)

    def _introduce(self, member: _Member, process: Process) -> None:
        address = member.specification.address or "-"
        self._say(f"{member.name:<13} pid {process.pid:<7} {address:<28} log {member.log}")

    def _tick(self) -> None:
        """Notice the dead, and start those whose delay is over."""
        for member in self._members:
            process = member.process
            if process is None:
                if member.deaths and time.monotonic() >= member.start_at:
                    self._restart(member)
            elif (code := process.exit_code()) is not None:
                self._bury(member, process, describe_exit(code))
            elif member.deaths and process.age_s > self._policy.steady_s:
                member.deaths = 0

    def _restart(self, member: _Member) -> None:
        self._start(member)
        if self._all_ready and member.process is not None:
            self._introduce(member, member.process)
            self._changed()

    def _bury(self, member: _Member, process: Process, cause: str) -> None:
        process.kill()  # what it left of its group
        self._lifeline.release(process.pid)
        member.process = None
        member.deaths += 1
        self._say(f"{member.name} ended ({cause}); last lines of {member.log}:")
        for line in process.tail(_LOG_LINES):
            self._say(f"    {line}")
        if not self._all_ready and member.deaths >= self._policy.start_attempts:
            raise StartFailed(f"{member.name} died {member.deaths} times in a row ({cause}); see {member.log}")
        delay = min(self._policy.first_delay_s * 2 ** (member.deaths - 1), self._policy.longest_delay_s)
        member.start_at = time.monotonic() + delay
        self._say(f"{member.name} starts again in {delay:.1f} s")

    def _look_for_silent(self) -> None:
        """Kill processes that run but have not answered for a while; the next tick starts them again."""
        if time.monotonic() - self._looked_at < self._policy.alive_every_s:
            return
        self._looked_at = time.monotonic()
        for member in self._members:
            if member.process is not None and not self._stopping.is_set():
                self._listen(member, member.process)

    def _listen(self, member: _Member, process: Process) -> None:
        fault = member.specification.alive()
        starting = not member.answered and process.age_s < self._policy.start_timeout_s
        member.answered = member.answered or fault is None
        member.silent = member.silent + 1 if fault and not starting else 0
        if member.silent >= self._policy.silent_limit:
            self._say(f"{member.name} runs but does not answer ({fault}): killed")
            process.kill()

    def _changed(self) -> None:
        self._on_change({member.name: member.process.pid for member in self._members if member.process})

    def _stop_in_order(self) -> None:
        """The gateway first, so that nothing new comes in; the store last, so that everything can be written down."""
        self._stopping.set()
        for tier in sorted(Tier, reverse=True):
            running = [
                member.process
                for member in self._members
                if member.process is not None and member.specification.tier is tier
            ]
            self._stop_together(running)
        self._lifeline.close()

    def _stop_together(self, processes: Sequence[Process]) -> None:
        for process in processes:
            process.ask_to_stop()
        began = time.monotonic()
        for process in processes:
            deadline = began + process.specification.grace_s
            while process.exit_code() is None and time.monotonic() < deadline and not self._hurry.wait(0.02):
                pass
            if process.exit_code() is None:
                self._say(f"{process.specification.name} did not stop by itself: killed")
            process.kill()
            self._lifeline.release(process.pid)


def _fresh_log(path: Path) -> Path:
    """Put the previous run's log aside."""
    if path.exists():
        path.replace(path.with_suffix(".log.old"))
    path.touch()
    return path
