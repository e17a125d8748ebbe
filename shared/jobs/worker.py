"""A worker process: Celery's consumer above, one child below that computes.

Prefork with one child, because only so do soft and hard time limits work, the parent answers signals and keeps beating
while the child computes, and a child that dies takes nothing with it. Sessions and connections are made in the child,
never before the fork.

On SIGTERM the worker takes no more jobs, tells its child, whose job is given back after its next checkpoint, and ends.
Celery's own soft shutdown would sleep through its whole timeout; a warm shutdown ends with the job, and after the
grace time a cold one follows, which the job sees as a lost worker.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from multiprocessing.sharedctypes import RawValue
from typing import Any

from celery import Celery, signals

from shared.jobs.attempts import Attempts
from shared.jobs.celery_app import TASK_NAME, CeleryPublisher, create_celery
from shared.jobs.connection import worker_client
from shared.jobs.heartbeat import Heartbeat, consumer_step
from shared.jobs.kinds import JobKinds
from shared.jobs.runner import JobRunner
from shared.jobs.sweeper import Sweeper
from shared.jobs.watchdog import Watchdog, snapshot_of, watch
from shared.memory import release_garbage
from shared.request_context import log_bindings
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from shared.telemetry.logs import configure_logging
from shared.telemetry.tracing import require_tracing, start_tracing, stop_tracing


class Worker:
    """One worker process.

    Args:
        kinds: the jobs that it can do.
        settings: of the process.
        name: its name in logs, such as `worker-onnx`.
        queues: those that it reads.

    Raises:
        ValueError: a kind's time limit is not below the visibility timeout.
        TracingUnavailable: tracing is asked for, and its packages are missing.
    """

    def __init__(self, kinds: JobKinds, settings: Settings, *, name: str, queues: Sequence[str]) -> None:
        kinds.check_time_limits(settings.visibility_timeout_s)
        require_tracing(settings)
        self._kinds = kinds
        self._settings = settings
        self._name = name
        self._queues = tuple(queues)
        self._id = f"{name}@{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        # Shared memory that the forked child sees; a lock could be left locked by a killed child.
        self._draining = RawValue(ctypes.c_bool, False)
        self._app = self._prepare()

    def run(self, *, concurrency: int = 1) -> None:
        """Work until told to stop, or until the watchdog finds the worker stuck."""
        self._watch()
        self._app.worker_main(
            [
                "--quiet",
                "worker",
                f"--hostname={self._id}",
                f"--queues={','.join(self._queues)}",
                f"--concurrency={concurrency}",
                "--pool=prefork",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
                f"--loglevel={self._settings.log_level}",
            ]
        )

    @cached_property
    def _runner(self) -> JobRunner:
        """Made at the first job, and so in the child."""
        start_tracing(self._name, self._settings)
        redis = worker_client(self._settings.redis_url)
        return JobRunner(
            Attempts(redis, self._settings, self._id),
            self._kinds,
            BlobStore(self._settings.blob_url),
            CeleryPublisher(self._app),
            draining=lambda: bool(self._draining.value),
        )

    def _prepare(self) -> Celery:
        app = create_celery(self._settings, queues=self._queues)
        self._pulse = self._make_pulse(app)
        app.steps["consumer"].add(consumer_step(self._pulse))
        app.task(name=TASK_NAME)(self._task())
        # Celery's signals hold their receivers weakly, hence weak=False.
        signals.setup_logging.connect(self._configure_logging, weak=False)
        signals.worker_shutting_down.connect(self._drain, weak=False)
        signals.worker_init.connect(_keep_memory_shared, weak=False)
        signals.worker_process_shutdown.connect(lambda **_: stop_tracing(), weak=False)
        return app

    def _task(self) -> Callable[[str], None]:
        def run(job_id: str) -> None:
            try:
                self._runner.run(job_id)
            finally:
                release_garbage()

        return run

    def _watch(self) -> None:
        client = worker_client(self._settings.redis_url, retries=0)
        look = snapshot_of(client, self._queues, lambda: self._pulse.beats)
        every_s = 2 * self._settings.worker_heartbeat_s
        patience = max(2, math.ceil(self._settings.worker_stuck_after_s / every_s))
        watch(Watchdog(look, patience=patience), every_s=every_s, ending=lambda: bool(self._draining.value))

    def _make_pulse(self, app: Celery) -> Heartbeat:
        client = worker_client(self._settings.redis_url, retries=0)
        sweeper = Sweeper(client, CeleryPublisher(app), self._settings)
        return Heartbeat(client, sweeper, self._settings, worker=self._id, queues=self._queues)

    def _configure_logging(self, **_: Any) -> None:
        configure_logging(self._name, level=self._settings.log_level, bindings=log_bindings)
        # Says of each message what the runner says of its job.
        for name in ("celery.app.trace", "celery.worker.strategy"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def _drain(self, **_: Any) -> None:
        """Runs in the parent's signal handler, before Celery's warm shutdown."""
        if self._draining.value:
            return
        self._draining.value = True
        cut_off = threading.Timer(self._settings.worker_shutdown_grace_s, os.kill, (os.getpid(), signal.SIGQUIT))
        cut_off.daemon = True
        cut_off.start()


def _keep_memory_shared(**_: Any) -> None:
    """Before the fork: what the collector never writes to again stays one copy for parent and child."""
    release_garbage()
    gc.freeze()
