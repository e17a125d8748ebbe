"""Celery's settings, each with the trap that it answers. Celery carries messages; it is never asked how a job is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu.entity import Queue

from shared.jobs.kinds import HARD_LIMIT_MARGIN_S, WEIGHTS, queues_of
from shared.settings import Settings

TASK_NAME = "facet.run"

KEY_PREFIX = "facet:celery:"
"""In front of every key that Celery writes; the list of waiting messages of a queue is `facet:celery:<queue>`."""

_CONNECTION: dict[str, Any] = {
    # A half-open connection must be noticed: workers that live on without consuming are Celery's oldest trouble.
    "socket_keepalive": True,
    "socket_timeout": 30,
    "socket_connect_timeout": 2,
    "health_check_interval": 25,
    "retry_on_timeout": True,
}


def _queue(name: str) -> Queue:
    """A queue on the default exchange: a list in Redis and nothing that would have to be declared before."""
    return Queue(name, routing_key=name)  # type: ignore[no-untyped-call]


def create_celery(settings: Settings, *, queues: Iterable[str] = ()) -> Celery:
    """A Celery application, the same for those who publish and those who work.

    Args:
        settings: where Redis is, and the limits.
        queues: further queues beside those of the domains.
    """
    app = Celery("facet", broker=settings.redis_url, set_as_current=False)
    names = [*(name for weight in WEIGHTS for name in queues_of(weight)), *queues]
    app.conf.update(
        task_queues=[_queue(name) for name in dict.fromkeys(names)],
        # A misspelt queue must fail and not be filled for ever with nobody reading it.
        task_create_missing_queues=False,
        # Only text that cannot run code goes through the broker.
        task_serializer="json",
        accept_content=["json"],
        # The job record holds the truth; Celery's own results would be a second one.
        task_ignore_result=True,
        # Acknowledge after the work, so that a message outlives its worker. Redelivered and doubled messages are
        # harmless, because a job is claimed atomically.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # One message at a time: a second one would wait behind a long job although other workers are idle.
        worker_prefetch_multiplier=1,
        # Above every time limit, or Redis would hand a running job's message to a second worker.
        broker_transport_options={
            **_CONNECTION,
            "visibility_timeout": settings.visibility_timeout_s,
            "global_keyprefix": KEY_PREFIX,
        },
        visibility_timeout=settings.visibility_timeout_s,
        # A short restart of Redis ends no running job: its writes wait, and fencing keeps it from being done twice.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Publish quickly or not at all: a caller waits, and the sweeper publishes later what was recorded.
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.05, "interval_step": 0.1, "interval_max": 0.2},
        # Memory that libraries leak does not add up for ever.
        worker_max_tasks_per_child=200,
        # Our JSON logs stay; cancel and health are told through Redis keys of our own, so nothing else is needed.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
    )
    return app


class CeleryPublisher:
    """Publishes through Celery. Blocks for a moment, so coroutines call it in a thread.

    Args:
        app: made by `create_celery`.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        """Send a message that names the job, with limits that Celery's pool enforces.

        Raises:
            kombu.exceptions.OperationalError: the broker does not answer.
        """
        self._app.send_task(
            TASK_NAME,
            args=[job_id],
            # As an object: a sweeper also publishes to queues that its own worker does not read.
            queue=_queue(queue),
            soft_time_limit=time_limit_s,
            time_limit=time_limit_s + HARD_LIMIT_MARGIN_S,
        )
