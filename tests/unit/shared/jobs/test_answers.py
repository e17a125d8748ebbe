from __future__ import annotations

import dataclasses
import json
from typing import cast

import pytest

from shared.http.preferences import Preferences
from shared.jobs.answers import JobView, accepted, answer_job, retry_after_s
from shared.jobs.records import JobProgress, JobRecord, JobStatus
from shared.jobs.store import JobStore
from tests.unit.shared.jobs.hashes import QUEUED

RECORD = JobRecord.from_hash(QUEUED)
DONE = dataclasses.replace(RECORD, status=JobStatus.SUCCEEDED, queue_position=None, result={"n": 1}, version=7)
PATH = f"/v1/jobs/{RECORD.id}"


class PatientStore:
    """A store in which every job finishes while one waits."""

    def __init__(self, record: JobRecord) -> None:
        self.record = record
        self.waited_s: float | None = None

    async def wait(self, job_id: str, *, seconds: float) -> JobRecord:
        assert job_id == self.record.id
        self.waited_s = seconds
        return self.record


async def answer(store: PatientStore, preferences: Preferences) -> tuple[int, dict[str, str], dict[str, object]]:
    response = await answer_job(cast("JobStore", store), RECORD, preferences)
    return response.status_code, dict(response.headers), json.loads(bytes(response.body))


def test_accepted_says_where_to_follow_the_job_and_when() -> None:
    response = accepted(dataclasses.replace(RECORD, eta_s=7.2), Preferences(respond_async=True))
    assert response.status_code == 202
    assert response.headers["location"] == PATH
    assert response.headers["retry-after"] == "8"
    assert response.headers["preference-applied"] == "respond-async"
    assert response.headers["etag"] == RECORD.etag


async def test_who_does_not_wait_gets_the_job_at_once() -> None:
    store = PatientStore(DONE)
    status, headers, body = await answer(store, Preferences(respond_async=True))
    assert (status, body["status"], store.waited_s) == (202, "queued", None)
    assert headers["vary"] == "Prefer"


@pytest.mark.parametrize("respond_async", [False, True])
async def test_who_waits_gets_the_finished_job(respond_async: bool) -> None:
    store = PatientStore(DONE)
    status, headers, body = await answer(store, Preferences(respond_async=respond_async, wait_s=5))
    assert (status, body["result"], store.waited_s) == (200, {"n": 1}, 5)
    assert headers["content-location"] == PATH
    assert "location" not in headers
    assert "wait=5" in headers["preference-applied"]


async def test_who_waits_in_vain_gets_the_job_as_it_is() -> None:
    running = dataclasses.replace(RECORD, status=JobStatus.RUNNING, progress=JobProgress(1, 3, "slice 2 of 3"))
    status, headers, body = await answer(PatientStore(running), Preferences(wait_s=1))
    assert (status, headers["location"]) == (202, PATH)
    assert body["progress"] == {"step": 1, "total": 3, "message": "slice 2 of 3", "unit": "slice"}


@pytest.mark.parametrize(("eta_s", "expected"), [(None, 1), (0.0, 1), (2.1, 3), (4000.0, 30)])
def test_retry_after_follows_the_estimate(eta_s: float | None, expected: int) -> None:
    assert retry_after_s(dataclasses.replace(RECORD, eta_s=eta_s)) == expected


def test_links_show_what_can_be_done_now() -> None:
    waiting, done = JobView.of(RECORD).links, JobView.of(DONE).links
    assert (waiting.result, waiting.cancel) == (None, PATH)
    assert (done.result, done.cancel) == (f"{PATH}/result", None)


def test_a_view_keeps_internals_to_itself() -> None:
    shown = JobView.of(RECORD).model_dump()
    assert not {"owner", "worker", "arguments", "checkpoint", "traceparent"} & set(shown)
