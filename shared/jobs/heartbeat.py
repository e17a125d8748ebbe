"""A worker's sign of life: it beats only while the worker really consumes, and sweeps at each beat.

It hangs on the timer of Celery's consumer. When the consumer loses its connection, or its loop stands still, the beats
stop, jobs for its queues are refused in time, and the watchdog ends the worker, which lives and yet does nothing.
"""

from __future__ import annotations

import logging
from typing import Any

import redis
from celery import bootsteps

from shared.jobs.scripts import source
from shared.jobs.sweeper import Sweeper
from shared.settings import Settings

_logger = logging.getLogger(__name__)


class Heartbeat:
    """Beats for one worker.

    Args:
        client: a client of `connection.worker_client` that gives up quickly.
        sweeper: sweeps at each beat.
        settings: how often to beat.
        worker: name of the worker.
        queues: those that it reads.
    """

    def __init__(
        self, client: redis.Redis, sweeper: Sweeper, settings: Settings, *, worker: str, queues: tuple[str, ...]
    ) -> None:
        self.every_s = settings.worker_heartbeat_s
        self._redis = client
        self._sweeper = sweeper
        self._gone_after_ms = round(settings.worker_gone_after_s * 1000)
        self._worker = worker
        self._queues = queues
        self._script = client.register_script(source("beat"))
        self.beats = 0
        """Times that the consumer's loop came by here, whether Redis answered or not; read by the watchdog."""

    def beat(self) -> None:
        """Say that the worker is there, then sweep. Must not raise: it runs in the consumer's loop."""
        self.beats += 1
        try:
            self._script(args=[self._worker, self._gone_after_ms, *self._queues])
            self._sweeper.sweep()
        except redis.RedisError as error:
            _logger.warning("no heartbeat: Redis does not answer", extra={"error": str(error)})
        except Exception:
            _logger.exception("the sweep failed")

    def stop(self) -> None:
        """Say that the worker takes no more jobs."""
        try:
            for queue in self._queues:
                self._redis.zrem(f"facet:queue:{queue}:workers", self._worker)
        except redis.RedisError as error:
            _logger.warning("the worker could not sign off; its heartbeat runs out", extra={"error": str(error)})


def consumer_step(pulse: Heartbeat) -> type[bootsteps.StartStopStep]:
    """The step that starts the pulse whenever Celery's consumer has started to consume, and stops it with it."""

    class PulseStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            self._timer: Any = None

        def start(self, parent: Any) -> None:
            pulse.beat()
            self._timer = parent.timer.call_repeatedly(pulse.every_s, pulse.beat)

        def stop(self, parent: Any) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                pulse.stop()

    return PulseStep
