from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.jobs.records import JobRecord, JobStatus, estimate_s
from tests.unit.shared.jobs.hashes import QUEUED, RUNNING


def test_a_new_job() -> None:
    record = JobRecord.from_hash(QUEUED)
    assert record.status is JobStatus.QUEUED
    assert record.created_at == datetime(2025, 8, 4, 9, 33, 20, 123000, tzinfo=UTC)
    assert (record.queue_position, record.attempt, record.arguments) == (4, 0, {"slices": 3})
    assert (record.started_at, record.result, record.problem, record.checkpoint) == (None, None, None, None)
    assert (record.progress.step, record.progress.total, record.cancel_requested) == (0, None, False)


def test_a_finished_job() -> None:
    fields = RUNNING | {"status": "failed", "finished_at": "1754300020000", "problem": '{"status":422}'}
    record = JobRecord.from_hash(fields)
    assert record.status.is_final
    assert record.problem == {"status": 422}
    assert record.finished_at is not None
    assert (record.finished_at - record.created_at).total_seconds() == pytest.approx(19.877)


def test_final_statuses() -> None:
    assert {status for status in JobStatus if not status.is_final} == {JobStatus.QUEUED, JobStatus.RUNNING}


@pytest.mark.parametrize("change", [{"version": "2"}, {"queue_position": "3"}])
def test_the_etag_changes_with(change: dict[str, str]) -> None:
    record = JobRecord.from_hash(QUEUED)
    assert record.etag == JobRecord.from_hash(QUEUED).etag
    assert JobRecord.from_hash(QUEUED | change).etag != record.etag
    assert record.etag.startswith('W/"')


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (QUEUED, None),
        (QUEUED | {"queue_pace_s": "10"}, 4 * 10 / 2 + 10),
        (QUEUED | {"queue_pace_s": "10", "kind_pace_s": "3"}, 4 * 10 / 2 + 3),
        (QUEUED | {"queue_pace_s": "10", "queue_workers": "0"}, 4 * 10 + 10),
        (RUNNING, None),
        (RUNNING | {"step_s": "0.5"}, 15),
        (RUNNING | {"step_s": "0.5", "kind_pace_s": "3"}, 15),
        (RUNNING | {"kind_pace_s": "20"}, 20 - 6),
        (RUNNING | {"kind_pace_s": "1"}, 0),
        (RUNNING | {"status": "succeeded", "step_s": "0.5"}, None),
    ],
)
def test_estimate(fields: dict[str, str], expected: float | None) -> None:
    assert estimate_s(fields) == expected
