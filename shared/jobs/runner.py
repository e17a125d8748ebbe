"""Runs one attempt from claim to end, whatever the function does. Knows nothing of Celery's messages."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery.exceptions import SoftTimeLimitExceeded

from shared.jobs.attempts import Attempt, Attempts, Refusal
from shared.jobs.context import JobContext
from shared.jobs.interrupts import FencedOut, GivenBack, JobCancelled
from shared.jobs.kinds import JobKinds
from shared.jobs.lease import Lease
from shared.jobs.publishing import Publisher
from shared.problems import GatewayTimeout, InternalError, Problem
from shared.request_context import bound, new_context
from shared.storage.blobs import BlobStore
from shared.telemetry.spans import end_attempt, job_attempt

_logger = logging.getLogger(__name__)


class JobRunner:
    """Runs jobs in a worker process.

    Args:
        attempts: claims them.
        kinds: those that this worker can do.
        blobs: for their contexts.
        publisher: for jobs that are given back.
        draining: whether the worker shuts down.
    """

    def __init__(
        self,
        attempts: Attempts,
        kinds: JobKinds,
        blobs: BlobStore,
        publisher: Publisher,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._attempts = attempts
        self._kinds = kinds
        self._blobs = blobs
        self._publisher = publisher
        self._draining = draining

    def run(self, job_id: str) -> None:
        """Work on a job, if it is there to be worked on."""
        attempt = self._attempts.claim(job_id)
        if isinstance(attempt, Refusal):
            _logger.info("message without work", extra={"job_id": job_id, "refusal": attempt.value})
            return
        record = attempt.record
        origin = new_context(request_id=record.request_id, traceparent=record.traceparent, tracestate=record.tracestate)
        with bound(origin):
            details = {"job_id": job_id, "kind": record.kind, "attempt": attempt.token}
            _logger.info("job attempt began", extra=details)
            try:
                with job_attempt(origin, attempt.record, attempt.token) as span:
                    self._work(attempt)
                    end_attempt(span, attempt.outcome)
            except FencedOut:
                _logger.warning("another attempt has taken over", extra=details)
            else:
                _logger.info("job attempt ended", extra=details)

    def _work(self, attempt: Attempt) -> None:
        record = attempt.record
        try:
            with Lease(attempt, every_s=self._attempts.settings.worker_heartbeat_s) as lease:
                function = self._kinds[record.kind].load()
                result = function(JobContext(attempt, self._blobs, lease, self._draining))
            attempt.succeed(result or {})
        except JobCancelled as cancelled:
            attempt.cancelled(cancelled.result)
        except GivenBack:
            self._give_back(attempt)
        except Problem as problem:
            attempt.fail(problem)
        except SoftTimeLimitExceeded:
            attempt.fail(time_limit_problem(record.time_limit_s))
        except MemoryError:
            # Celery would raise it again in the parent and end the whole worker.
            _logger.exception("out of memory", extra={"job_id": record.id})
            attempt.fail(InternalError("The job needed more memory than its worker has."))
        except Exception:
            _logger.exception("the job's function failed", extra={"job_id": record.id})
            attempt.fail(InternalError("The job failed by a fault of Facet. The log has it under the request id."))

    def _give_back(self, attempt: Attempt) -> None:
        record = attempt.record
        if attempt.release():
            _logger.info("job given back", extra={"job_id": record.id})
            self._publisher.publish(record.id, queue=record.queue, time_limit_s=record.time_limit_s)


def time_limit_problem(time_limit_s: int) -> Problem:
    """The problem of an attempt that ran for too long."""
    return GatewayTimeout(f"The job did not finish within its time limit of {time_limit_s} s.")
