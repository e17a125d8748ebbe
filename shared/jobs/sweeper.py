"""Finds what nobody would come back for: jobs whose worker or message was lost, and what is overdue.

Every worker sweeps once per heartbeat, on the timer of its consumer: as long as one worker lives, of whatever queue,
lost jobs are found; and with no worker at all nobody could do them. Sweeping twice does no harm, as each transition is
one script. A job of a killed worker is queued again within four heartbeats for its lease and one for the sweep: ten
seconds by default.
"""

from __future__ import annotations

import logging
from typing import Any, cast

import orjson
from redis import Redis

from shared.jobs.celery_app import KEY_PREFIX
from shared.jobs.publishing import Publisher
from shared.jobs.records import JobStatus
from shared.jobs.runner import time_limit_problem
from shared.jobs.scripts import source
from shared.problems import InternalError, Problem, ServiceUnavailable
from shared.settings import Settings

_BATCH = 100
_SCRIPTS = ("expire", "reclaim", "unpublished")

_logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps.

    Args:
        redis: a client of `connection.worker_client`.
        publisher: for jobs that are queued again.
        settings: lease, retention and limits.
    """

    def __init__(self, redis: Redis, publisher: Publisher, settings: Settings) -> None:
        self._redis = redis
        self._publisher = publisher
        self._settings = settings
        self._scripts = {name: redis.register_script(source(name)) for name in _SCRIPTS}

    def sweep(self) -> None:
        """Do all three, each for a bounded number of jobs."""
        self.reclaim()
        self.republish()
        self.expire()

    def reclaim(self) -> dict[str, str]:
        """Take jobs from attempts whose lease ran out.

        Returns:
            The new status of each: queued, cancelled (it was asked for), or failed after too many lost workers.
        """
        uptime_s = int(self._redis.info("server")["uptime_in_seconds"])
        if uptime_s <= self._settings.worker_gone_after_s:
            return {}  # Redis was away itself: first let the living renew their leases
        seconds, microseconds = self._redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        lost = cast("list[str]", self._redis.zrangebyscore("facet:leases", "-inf", now_ms, start=0, num=_BATCH))
        return {job_id: self._reclaim(job_id) for job_id in lost}

    def republish(self) -> list[str]:
        """Publish waiting jobs again whose message is gone.

        Returns:
            Their ids.
        """
        grace_ms = round(self._settings.worker_gone_after_s * 1000)
        found: list[str] = []
        for queue in cast("set[str]", self._redis.smembers("facet:queues")):
            ids = cast("list[str]", self._run("unpublished", queue, KEY_PREFIX + queue, grace_ms, _BATCH))
            for job_id in ids:
                _logger.warning("job without a message, published again", extra={"job_id": job_id})
                self._publish(job_id)
            found += ids
        return found

    def expire(self) -> int:
        """End jobs that waited too long, and turn those past their retention into tombstones.

        Returns:
            How many.
        """
        hours = self._settings.job_queue_timeout_s / 3600
        problem = ServiceUnavailable(f"No worker took up the job within {hours:g} hours; post it again.")
        return cast(
            "int",
            self._run(
                "expire",
                _BATCH,
                self._settings.job_retention_s * 1000,
                self._settings.tombstone_retention_s * 1000,
                _json(problem),
            ),
        )

    def _reclaim(self, job_id: str) -> str:
        limit = self._settings.job_lost_workers_limit
        time_limit_s = int(cast("str | None", self._redis.hget(f"facet:job:{job_id}", "time_limit_s")) or 0)
        lost = InternalError(
            f"{limit} workers were lost while they worked on this job (killed, or out of memory), so it is not tried "
            "again. Try smaller input."
        )
        status = cast(
            "str",
            self._run(
                "reclaim",
                job_id,
                limit,
                self._settings.job_queue_timeout_s * 1000,
                self._settings.job_retention_s * 1000,
                _json(lost, job_id),
                _json(time_limit_problem(time_limit_s), job_id),
                max(self._settings.dead_letter_retention_s, self._settings.job_retention_s) * 1000,
            ),
        )
        _logger.warning("lease of a job ran out", extra={"job_id": job_id, "status": status})
        if status == JobStatus.QUEUED:
            self._publish(job_id)
        return status

    def _publish(self, job_id: str) -> None:
        found = cast("list[str | None]", self._redis.hmget(f"facet:job:{job_id}", ["queue", "time_limit_s"]))
        queue, time_limit_s = found
        if queue is not None and time_limit_s is not None:
            self._publisher.publish(job_id, queue=queue, time_limit_s=int(time_limit_s))

    def _run(self, script: str, *arguments: Any) -> Any:
        return self._scripts[script](args=arguments)


def _json(problem: Problem, job_id: str | None = None) -> str:
    details = problem.details(instance=f"/v1/jobs/{job_id}" if job_id else None)
    return orjson.dumps(details.model_dump(exclude_none=True)).decode("utf-8")
