"""A running system as a whole: all processes that came of its start, their CPU time and memory, their end.

Some systems start daemons in sessions of their own, some overwrite the memory that /proc/PID/environ shows. So a
process belongs to a system if its environment carries the mark that the system was started with, or if its parent
belongs.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_MARK = "FACET_BENCHMARK_MARK"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Stat:
    """One process now.

    Attributes:
        parent: its parent's id.
        cpu_s: user and system time of all its threads, seconds.
        rss: resident bytes.
    """

    parent: int
    cpu_s: float
    rss: int


def parse_stat(text: str) -> Stat:
    """The content of /proc/PID/stat, see proc(5); the command in it may hold spaces and brackets."""
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[1]), (int(fields[11]) + int(fields[12])) * _TICK_S, int(fields[21]) * _PAGE)


def all_processes() -> dict[int, Stat]:
    """Every process of the machine that is no zombie, by id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            text = (folder / "stat").read_text()
            if text.rpartition(")")[2].split()[0] != "Z":
                found[int(folder.name)] = parse_stat(text)
    return found


def command_line(pid: int) -> list[str]:
    """The arguments that a process was started with, or what it has written over them; empty if it is gone."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        return [argument for argument in text.split("\0") if argument]
    return []


def kind_of(command: Sequence[str]) -> str:
    """A short name of what runs, without what differs from start to start.

    Args:
        command: such as `python -m deploy.serve gateway`, which is a "gateway".
    """
    match command:
        case [_, "-m", "deploy.serve", name, *_]:
            return name
        case [_, "-m", "services.worker", "--weight", weight, *_]:
            return f"worker-{weight}"
        case [_, "-m", module, *_]:
            return module.rpartition(".")[2]
        case [_, "-c", code, *_]:
            return "multiprocessing" if "multiprocessing" in code else "python -c"
        case [program, *_]:
            # Redis and Ray write what they do over their arguments, after their name.
            return Path(program.split(" ")[0]).name.removesuffix(":")
    return "ended"


def with_descendants(roots: Collection[int], processes: Mapping[int, Stat]) -> set[int]:
    """The roots that live and everything below them."""
    members = set(roots) & set(processes)
    while more := {pid for pid, stat in processes.items() if stat.parent in members} - members:
        members |= more
    return members


class Running:
    """A system that was started; use it as a context to be sure of its end.

    Args:
        command: its command line.
        environment: variables on top of this process's.
        log: file for what it prints.
        grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, log: Path, grace_s: float = 4.0
    ) -> None:
        self._mark = f"{_MARK}={secrets.token_hex(8)}"
        self._marked_pids: set[int] = set()
        self._grace_s = grace_s
        name, _, value = self._mark.partition("=")
        self.log = log
        with log.open("wb") as output:
            self.root = subprocess.Popen(
                command,
                env={**os.environ, **environment, name: value},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _marked(self, pid: int) -> bool:
        if pid not in self._marked_pids:
            with suppress(OSError):
                if self._mark.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    self._marked_pids.add(pid)
        return pid in self._marked_pids

    def members(self) -> dict[int, Stat]:
        """Its processes as of now."""
        processes = all_processes()
        roots = {pid for pid in processes if self._marked(pid)} | {self.root.pid}
        return {pid: processes[pid] for pid in with_descendants(roots, processes)}

    def ended(self) -> bool:
        """Whether its first process has ended."""
        return self.root.poll() is not None

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-1000:]

    def stop(self) -> None:
        """Ask it to stop, then kill what is left."""
        with suppress(ProcessLookupError):
            self.root.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.root.wait(self._grace_s)
        deadline = time.monotonic() + self._grace_s
        while (left := self.members()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.root.poll()
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a system used in a window.

    Attributes:
        cpu_s: CPU seconds of all its processes; those that came and went between two samples are not counted.
        peak_rss: largest sum of resident bytes seen; pages that processes share count in each.
        rss: the sum over time, one value per sample, seconds since the window's begin beside it.
        peaks: largest resident bytes by kind of process (`kind_of`), those of a kind added up.
    """

    cpu_s: float
    peak_rss: int
    rss: tuple[tuple[float, int], ...]
    peaks: Mapping[str, int]


class Meter:
    """Measures a system while the context is open, without a process of its own.

    Args:
        running: the system.
        only: processes to look at; all of the system's by default.
    """

    def __init__(self, running: Running, *, only: Collection[int] | None = None) -> None:
        self._running, self._only = running, only
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._rss: list[tuple[float, int]] = []
        self._peaks: dict[int, int] = {}
        self._kinds: dict[int, str] = {}

    def _look(self) -> dict[int, Stat]:
        members = self._running.members()
        found = {pid: stat for pid, stat in members.items() if self._only is None or pid in self._only}
        self._rss.append((time.monotonic() - self._began, sum(stat.rss for stat in found.values())))
        for pid, stat in found.items():
            self._peaks[pid] = max(stat.rss, self._peaks.get(pid, 0))
            if pid not in self._kinds:
                self._kinds[pid] = kind_of(command_line(pid))
        return found

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            for pid, stat in self._look().items():
                self._last[pid] = stat.cpu_s

    def __enter__(self) -> Meter:
        self._began = time.monotonic()
        self._first = {pid: stat.cpu_s for pid, stat in self._look().items()}
        self._last = dict(self._first)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._last |= {pid: stat.cpu_s for pid, stat in self._look().items()}

    @property
    def usage(self) -> Usage:
        """Of the window that has ended."""
        cpu = sum(after - self._first.get(pid, 0.0) for pid, after in self._last.items())
        peaks: dict[str, int] = {}
        for pid, rss in self._peaks.items():
            peaks[self._kinds[pid]] = peaks.get(self._kinds[pid], 0) + rss
        return Usage(cpu, max(rss for _, rss in self._rss), tuple(self._rss), peaks)


def wait_until_idle(running: Running, *, cores: float = 0.2, patience_s: float = 6.0) -> None:
    """Wait until a system has worked off what an aborted client left behind."""
    deadline, step_s = time.monotonic() + patience_s, 0.15
    while time.monotonic() < deadline:
        before = running.members()
        time.sleep(step_s)
        after = running.members()
        if sum(stat.cpu_s - before[pid].cpu_s for pid, stat in after.items() if pid in before) < cores * step_s:
            return
