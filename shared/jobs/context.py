"""What the function of a job gets to work with.

A function is a plain function of one argument. It should call `progress` at each step: there it learns that it is
cancelled, so the longest step is the bound within which a cancel takes effect. After a `checkpoint` a lost worker
costs no more than the steps since.

    def enhance(context: JobContext) -> dict[str, Any]:
        state = context.restore() or {"done": []}
        for step in range(len(state["done"]), total):
            context.progress(step, total, f"slice {step + 1} of {total}")
            ...
            context.checkpoint(state)
        return {...}
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from shared.jobs.attempts import Attempt
from shared.jobs.interrupts import FencedOut, GivenBack, JobCancelled
from shared.jobs.lease import Lease
from shared.storage.blobs import BlobStore
from shared.telemetry.tracing import add_event

QUIET_S = 0.1
"""Least seconds between two writes of progress; a loop of microsecond steps must not be a load on Redis."""

_BYTES = "application/octet-stream"
_JSON = "application/json"

_LOG_LIMIT = 2000


class JobContext:
    """Progress, previews, checkpoints and the end of one attempt.

    Args:
        attempt: the attempt.
        blobs: where large things are.
        lease: keeps the attempt alive meanwhile.
        draining: whether this worker shuts down.
    """

    def __init__(self, attempt: Attempt, blobs: BlobStore, lease: Lease, draining: Callable[[], bool]) -> None:
        self.blobs = blobs
        self._attempt = attempt
        self._lease = lease
        self._draining = draining
        self._saved = attempt.record.checkpoint
        self._checkpointed = False
        self._first_step: tuple[int, float] | None = None
        self._written_s = float("-inf")

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self._attempt.record.id

    @property
    def arguments(self) -> dict[str, Any]:
        """What the job was created with."""
        return self._attempt.record.arguments

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return self._attempt.token

    def progress(self, step: int, total: int | None = None, message: str = "") -> None:
        """Say how far the job is, and stop here if it is to stop.

        Args:
            step: steps done.
            total: steps to do, if known.
            message: what it is doing, for the caller; no patient data.

        Raises:
            JobInterrupted: cancelled, given back or fenced out; let it pass.
        """
        now_s = time.monotonic()
        if self._first_step is None:
            self._first_step = (step, now_s)
        self._raise_if_stopped(give_back=not self._checkpointed)
        if now_s - self._written_s < QUIET_S and step != total:
            return
        self._written_s = now_s
        fields: dict[str, str | int | float] = {"step": step, "message": message}
        if total is not None:
            fields["total"] = total
        done = step - self._first_step[0]
        if done > 0:
            fields["step_s"] = round((now_s - self._first_step[1]) / done, 6)
        data = {"step": step, "total": total, "message": message, "attempt": self.attempt}
        self._stop_on(self._attempt.note(fields, event="progress", data=data))

    def preview(self, data: bytes, media_type: str) -> None:
        """Show a picture of what there is so far."""
        blob = self.blobs.put(data, media_type)
        shown = {"digest": blob.digest, "media_type": media_type, "size": blob.size}
        self._stop_on(self._attempt.note(event="preview", data=shown))

    def log(self, message: str) -> None:
        """Tell the caller something; no patient data. Cut at 2000 characters."""
        self._stop_on(self._attempt.note(event="log", data={"message": message[:_LOG_LIMIT]}))

    def checkpoint(self, state: Any) -> None:
        """Save what the next attempt needs in order to go on from here.

        Args:
            state: bytes, or anything that is JSON.

        Raises:
            JobInterrupted: cancelled, given back (after saving) or fenced out; let it pass.
        """
        data, media_type = (
            (state, _BYTES)
            if isinstance(state, bytes)
            else (orjson.dumps(state, option=orjson.OPT_SERIALIZE_NUMPY), _JSON)
        )
        # How to read it is kept beside the digest: equal bytes may have been stored under another media type.
        self._saved = f"{self.blobs.put(data, media_type).digest} {media_type}"
        self._checkpointed = True
        add_event("checkpoint", {"facet.checkpoint.bytes": len(data)})
        self._stop_on(self._attempt.note({"checkpoint": self._saved}))
        self._raise_if_stopped(give_back=True)

    def restore(self) -> Any:
        """The state of the last checkpoint, of this attempt or an earlier one; None if there is none."""
        if self._saved is None:
            return None
        digest, _, media_type = self._saved.partition(" ")
        data = self.blobs.get(digest)
        return data if media_type == _BYTES else orjson.loads(data)

    def raise_if_cancelled(self) -> None:
        """Stop here if the job is to stop; for places between two steps. Asks Redis no more often than `QUIET_S`.

        Raises:
            JobInterrupted: cancelled, given back or fenced out; let it pass.
        """
        self._raise_if_stopped(give_back=not self._checkpointed)
        now_s = time.monotonic()
        if now_s - self._written_s >= QUIET_S:
            self._written_s = now_s
            self._stop_on(self._attempt.note())

    def pause(self, seconds: float) -> None:
        """Wait, and stop meanwhile if the job is to stop: for what is asked again later.

        Raises:
            JobInterrupted: as of `raise_if_cancelled`.
        """
        until_s = time.monotonic() + seconds
        self.raise_if_cancelled()
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(QUIET_S, left_s))
            self.raise_if_cancelled()

    def _raise_if_stopped(self, *, give_back: bool) -> None:
        """Look at what is known without asking Redis.

        A function that checkpoints is given back right after its next checkpoint, so that nothing is lost; one that
        does not, at its next step.
        """
        if self._lease.lost:
            raise FencedOut
        self._stop_on(self._lease.cancelled)
        if give_back and self._draining():
            raise GivenBack

    @staticmethod
    def _stop_on(cancel: bool) -> None:
        if cancel:
            raise JobCancelled
