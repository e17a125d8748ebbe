"""Keeps the lease of an attempt while its function computes, from a thread of the computing process.

The thread lives in the process that does the work and not in its parent, so that a killed child falls silent by itself.
"""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import Self

import redis

from shared.jobs.attempts import Attempt
from shared.jobs.interrupts import FencedOut

_logger = logging.getLogger(__name__)


class Lease:
    """Renews an attempt's lease every heartbeat for the length of a `with` block.

    A step that holds Python's global lock for longer than the lease (four heartbeats) loses it; numerics of numpy,
    onnxruntime and torch release the lock.

    Args:
        attempt: whose lease.
        every_s: seconds between renewals.
    """

    def __init__(self, attempt: Attempt, *, every_s: float) -> None:
        self._attempt = attempt
        self._every_s = every_s
        self._parent = os.getppid()
        self._over = threading.Event()
        self._lost = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether another attempt has taken over."""
        return self._lost.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether a cancel was seen."""
        return self._cancelled.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(self._every_s):
            if os.getppid() != self._parent:
                # The worker above was killed. Nobody holds this process to its time limits any more, or would stop it.
                os._exit(1)
            try:
                if self._attempt.note():
                    self._cancelled.set()
            except FencedOut:
                self._lost.set()
                return
            except redis.RedisError as error:
                details = {"job_id": self._attempt.record.id, "error": str(error)}
                _logger.warning("lease not renewed: Redis does not answer", extra=details)
