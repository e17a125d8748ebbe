"""The audit log at the end of a process."""

from __future__ import annotations

import asyncio

from shared.access.audit import AuditLog, Entry
from shared.jobs.connection import api_client


def entry(request_id: str) -> Entry:
    return Entry(request_id=request_id, caller="a", key="", method="POST", path="/v1/x", status=200, digest="", bytes=0)


async def test_a_closed_log_has_written_what_it_was_given_and_begins_nothing_more(redis_url: str) -> None:
    redis = api_client(redis_url)
    log = AuditLog(redis, kept=100)
    for number in range(3):
        log.write(entry(f"before-{number}"))
    await log.close()
    running = asyncio.all_tasks()
    assert log.write(entry("cut-off"))["request_id"] == "cut-off", "the process log has it all the same"
    assert asyncio.all_tasks() == running, "a task that begins while a loop ends is never waited for"
    recorded, _ = await log.page()
    assert [one.entry.request_id for one in recorded] == ["before-2", "before-1", "before-0"]
    await redis.aclose()
