"""How a process that creates jobs tells the workers, without Celery's memory until it first has something to tell."""

from __future__ import annotations

import threading
from typing import Protocol

from shared.settings import Settings


class Publisher(Protocol):
    """Tells the workers of a queue to look at a job."""

    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        """Send the message; raises when the broker does not take it."""


class DeferredPublisher:
    """Publishes through Celery, which is imported at the first message: 6 MB that most services never need.

    The import takes a fifth of a second, in the thread of the one request that comes first. Thread-safe.

    Args:
        settings: where Redis is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None

    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        """Send a message that names the job.

        Raises:
            kombu.exceptions.OperationalError: the broker does not answer.
        """
        with self._lock:
            if self._publisher is None:
                self._publisher = self._connect()
        self._publisher.publish(job_id, queue=queue, time_limit_s=time_limit_s)

    def _connect(self) -> Publisher:
        from shared.jobs.celery_app import CeleryPublisher, create_celery

        return CeleryPublisher(create_celery(self._settings))
