from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.jobs.attempts import Attempt
from shared.jobs.identifiers import new_job_id
from shared.problems import UnprocessableContent, field_problem
from shared.settings import Settings
from tests.integration.gateway.conftest import Bench

UNKNOWN = new_job_id()


async def test_a_job_is_read_with_tag_and_retry_after(client: httpx.AsyncClient, bench: Bench) -> None:
    record = await bench.create()
    answer = await client.get(f"/v1/jobs/{record.id}")
    job = answer.json()
    assert answer.status_code == 200
    assert (job["id"], job["status"], job["queue_position"]) == (record.id, "queued", 0)
    assert job["links"]["cancel"] == f"/v1/jobs/{record.id}"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["etag"] == record.etag
    assert answer.headers["vary"] == "Prefer"
    assert "preference-applied" not in answer.headers


async def test_an_unchanged_job_is_304_until_it_changes(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    path = f"/v1/jobs/{attempt.record.id}"
    tag = (await client.get(path)).headers["etag"]
    for given in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        unchanged = await client.get(path, headers={"If-None-Match": given})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == tag
    attempt.note({"step": 1, "total": 2})
    changed = await client.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["progress"] == {"step": 1, "total": 2, "message": None, "unit": "slice"}


async def test_a_wait_ends_with_the_job(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    path = f"/v1/jobs/{attempt.record.id}"
    waiting = asyncio.create_task(client.get(path, headers={"Prefer": "wait=20"}))
    await client.get(path)
    assert not waiting.done()
    attempt.succeed({"answer": 42})
    answer = await waiting
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=20"
    assert "retry-after" not in answer.headers


async def test_a_wait_ends_with_its_time(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    answer = await client.get(f"/v1/jobs/{attempt.record.id}", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (200, "running")
    assert answer.headers["preference-applied"] == "wait=1"
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("below", ["", "/events", "/result", "/files/a.png", "/previews/sha256:00"])
async def test_unknown_jobs_are_404(client: httpx.AsyncClient, below: str) -> None:
    for job_id in (UNKNOWN, "not-an-id"):
        answer = await client.get(f"/v1/jobs/{job_id}{below}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_forgotten_jobs_are_410(client: httpx.AsyncClient, settings: Settings) -> None:
    with redis.Redis.from_url(settings.redis_url) as plain:
        plain.set(f"facet:gone:{UNKNOWN}", "anonymous")
    for below in ("", "/events", "/result"):
        assert (await client.get(f"/v1/jobs/{UNKNOWN}{below}")).status_code == 410
    assert (await client.delete(f"/v1/jobs/{UNKNOWN}")).status_code == 410


async def test_listing_pages_by_link(client: httpx.AsyncClient, bench: Bench) -> None:
    made = [(await bench.create()).id for _ in range(5)]
    seen, path = [], "/v1/jobs?limit=2&status=queued"
    pages = 0
    while path:
        answer = await client.get(path)
        seen += [job["id"] for job in answer.json()["jobs"]]
        pages += 1
        path = answer.links.get("next", {}).get("url", "")
        assert bool(path) == (answer.json()["next_cursor"] is not None)
    assert seen == made[::-1]
    assert pages == 3


async def test_listing_filters(client: httpx.AsyncClient, bench: Bench) -> None:
    running = (await bench.start()).record.id
    other = (await bench.create("medical.other")).id
    by_status = (await client.get("/v1/jobs", params={"status": "running"})).json()["jobs"]
    by_kind = (await client.get("/v1/jobs", params={"kind": "medical.other"})).json()["jobs"]
    assert [job["id"] for job in by_status] == [running]
    assert [job["id"] for job in by_kind] == [other]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/query/limit"), ("limit=101", "/query/limit"), ("status=lost", "/query/status"),
     ("cursor=nonsense", "/query/cursor")],
)  # fmt: skip
async def test_bad_listings_name_the_field(client: httpx.AsyncClient, query: str, pointer: str) -> None:
    answer = await client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_cancelling_a_queued_job_is_done_at_once(client: httpx.AsyncClient, bench: Bench) -> None:
    record, bystander = await bench.create(), await bench.create()
    answer = await client.delete(f"/v1/jobs/{record.id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await client.delete(f"/v1/jobs/{record.id}")).status_code == 409
    assert (await client.get(f"/v1/jobs/{bystander.id}")).json()["status"] == "queued"


async def test_cancelling_a_running_job_is_accepted_and_can_be_repeated(
    client: httpx.AsyncClient, bench: Bench
) -> None:
    attempt = await bench.start()
    for _ in range(2):
        answer = await client.delete(f"/v1/jobs/{attempt.record.id}")
        assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
        assert "retry-after" in answer.headers
    attempt.cancelled()
    assert (await client.delete(f"/v1/jobs/{attempt.record.id}")).status_code == 409


async def test_a_result_is_409_before_and_200_after(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    path = f"/v1/jobs/{attempt.record.id}/result"
    early = await client.get(path)
    assert (early.status_code, "retry-after" in early.headers) == (409, True)
    attempt.succeed({"answer": 42})
    answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (200, {"answer": 42})
    assert answer.headers["cache-control"] == "private, no-store"


async def test_the_result_of_a_failed_job_is_its_problem(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    attempt.fail(field_problem("/body/file/0", "The slice is empty."))
    answer = await client.get(f"/v1/jobs/{attempt.record.id}/result")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "The slice is empty."
    assert answer.json()["errors"] == [{"pointer": "/body/file/0", "detail": "The slice is empty."}]


async def test_the_result_of_a_cancelled_job_is_409(client: httpx.AsyncClient, bench: Bench) -> None:
    record = await bench.create()
    await client.delete(f"/v1/jobs/{record.id}")
    answer = await client.get(f"/v1/jobs/{record.id}/result")
    assert (answer.status_code, "retry-after" in answer.headers) == (409, False)


async def finished_with_file(bench: Bench, content: bytes, name: str = "slice-0001.png") -> tuple[str, Any]:
    blob = bench.blobs.put(content, "image/png")
    attempt = await bench.start()
    attempt.note(event="preview", data={"digest": blob.digest, "media_type": "image/png", "size": blob.size})
    stored = {"digest": blob.digest, "media_type": blob.media_type, "size": blob.size}
    attempt.succeed({"files": {name: stored}})
    return attempt.record.id, blob


async def test_files_of_a_result_are_streamed(client: httpx.AsyncClient, bench: Bench) -> None:
    content = bytes(range(256)) * 4096  # several parts
    job_id, _ = await finished_with_file(bench, content)
    answer = await client.get(f"/v1/jobs/{job_id}/files/slice-0001.png")
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''slice-0001.png"
    digest = hashlib.sha256(content).digest()
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"


async def test_a_file_of_another_name_is_404_and_names_those_there_are(client: httpx.AsyncClient, bench: Bench) -> None:
    job_id, _ = await finished_with_file(bench, b"png")
    answer = await client.get(f"/v1/jobs/{job_id}/files/other.png")
    assert answer.status_code == 404
    assert "slice-0001.png" in answer.json()["detail"]


async def test_a_file_that_is_no_longer_stored_is_404(client: httpx.AsyncClient, bench: Bench) -> None:
    job_id, blob = await finished_with_file(bench, b"png")
    bench.blobs.delete(blob.digest)
    assert (await client.get(f"/v1/jobs/{job_id}/files/slice-0001.png")).status_code == 404


async def test_a_damaged_file_breaks_off_instead_of_passing_for_whole(
    client: httpx.AsyncClient, bench: Bench, tmp_path: Path
) -> None:
    job_id, blob = await finished_with_file(bench, b"content")
    name = blob.digest.removeprefix("sha256:")
    (path,) = [path for path in (tmp_path / "blobs").rglob(f"*{name}*") if not path.name.endswith(".type")]
    path.write_bytes(b"CONTENT")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"/v1/jobs/{job_id}/files/slice-0001.png")


async def test_previews_are_read_through_the_job_whose_events_name_them(
    client: httpx.AsyncClient, bench: Bench
) -> None:
    job_id, blob = await finished_with_file(bench, b"preview")
    answer = await client.get(f"/v1/jobs/{job_id}/previews/{blob.digest}")
    assert (answer.status_code, answer.content) == (200, b"preview")
    other = await bench.start()
    for foreign in (other.record.id, job_id):
        digest = blob.digest if foreign != job_id else bench.blobs.put(b"secret").digest
        assert (await client.get(f"/v1/jobs/{foreign}/previews/{digest}")).status_code == 404


async def test_a_job_that_failed_is_retried(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    path = f"/v1/jobs/{attempt.record.id}"
    assert (await client.post(f"{path}/retry")).status_code == 409
    attempt.fail(UnprocessableContent("no slices"))
    failed = (await client.get(path)).json()
    assert failed["links"]["retry"] == f"{path}/retry"

    answer = await client.post(failed["links"]["retry"])
    assert (answer.status_code, answer.headers["Location"]) == (202, path)
    assert (answer.json()["status"], answer.json()["problem"]) == ("queued", None)
    assert (await client.post(f"{path}/retry")).status_code == 409
    again = bench.attempts.claim(attempt.record.id)
    assert isinstance(again, Attempt)
    again.succeed({"answer": 42})
    assert (await client.post(f"{path}/retry")).status_code == 409
    assert (await client.get(f"{path}/result")).json() == {"answer": 42}
    assert (await client.post("/v1/jobs/019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e/retry")).status_code == 404
