"""Ends a worker that lives and yet does nothing, so that whatever started it starts a fresh one.

A consumer can hang, or come back from a lost connection and beat on without taking messages (Celery's oldest trouble).
Nothing inside such a process can be trusted to repair it. A thread looks from outside of the consumer's loop; a look
counts only while Redis answers, so that an outage restarts nobody, and looks are counted instead of seconds, so that
a process which was paused is not judged by the time that it slept.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis
from celery.worker import state

from shared.jobs.celery_app import KEY_PREFIX

EXIT_CODE = 70
"""Exit status of a worker that was ended for being stuck (EX_SOFTWARE of sysexits.h)."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """What one look sees of the worker."""

    beats: int
    """Times that the consumer's loop has run the pulse."""
    received: int
    """Messages that were taken so far."""
    computing: bool
    """Whether a child works on one."""
    waiting: bool
    """Whether there is a message to take or to hand to a child."""


class Watchdog:
    """Looks at one worker.

    Args:
        look: says what is to be seen; raises `redis.RedisError` where Redis does not answer.
        patience: looks in a row without a beat, or without taking a message that waits, until the worker is stuck.
    """

    def __init__(self, look: Callable[[], WorkerSnapshot], *, patience: int) -> None:
        self._look = look
        self._patience = patience
        self._last: WorkerSnapshot | None = None
        self._silent = 0
        self._starved = 0

    def fault(self) -> str | None:
        """Look once more: None as long as all is well, else what is wrong with the worker."""
        try:
            snapshot = self._look()
        except redis.RedisError:
            self._last = None
            self._silent = self._starved = 0
            return None
        last, self._last = self._last, snapshot
        if last is None or snapshot.beats == 0:
            return None
        self._silent = self._silent + 1 if snapshot.beats == last.beats else 0
        idle = snapshot.received == last.received and not snapshot.computing
        self._starved = self._starved + 1 if idle and snapshot.waiting else 0
        if self._silent >= self._patience:
            return "its consumer stands still"
        if self._starved >= self._patience:
            return "it takes no messages although some wait"
        return None


def snapshot_of(client: redis.Redis, queues: Sequence[str], beats: Callable[[], int]) -> Callable[[], WorkerSnapshot]:
    """What can be seen from a thread of the worker's parent process.

    Args:
        client: gives up quickly.
        queues: those that the worker reads.
        beats: how often the pulse has run.
    """

    def look() -> WorkerSnapshot:
        waiting = any(client.llen(KEY_PREFIX + queue) for queue in queues)
        return WorkerSnapshot(
            beats=beats(),
            received=sum(state.total_count.values()),
            computing=bool(state.active_requests),
            waiting=waiting or bool(state.reserved_requests),
        )

    return look


def watch(watchdog: Watchdog, *, every_s: float, ending: Callable[[], bool]) -> None:
    """Look every `every_s` seconds from a thread, and end the process when the worker is stuck.

    Its job, if it has one, is found by the lease that runs out; the child ends itself when its parent is gone.
    """
    pause = threading.Event()

    def run() -> None:
        while not pause.wait(every_s):
            fault = None if ending() else watchdog.fault()
            if fault:
                _logger.critical("the worker is stuck and ends", extra={"fault": fault})
                logging.shutdown()
                os._exit(EXIT_CODE)

    threading.Thread(target=run, name="watchdog", daemon=True).start()
