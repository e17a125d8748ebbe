"""Files of jobs over a real socket: parts, entity tags, and answers without a body."""

from __future__ import annotations

import httpx
import pytest

from shared.jobs.files import JobFiles
from shared.problems import PROBLEM_MEDIA_TYPE
from tests.integration.gateway.conftest import Bench

CONTENT = bytes(range(256)) * 4096  # several parts of the stream


async def path_of_file(bench: Bench, content: bytes = CONTENT, media_type: str = "application/dicom") -> str:
    attempt = await bench.start()
    files = JobFiles(attempt.record.id, bench.blobs)
    attempt.note(event="preview", data={"digest": files.put("a.dcm", content, media_type).digest})
    attempt.succeed({"files": {name: file.model_dump() for name, file in files.files.items()}})
    return f"/v1/jobs/{attempt.record.id}/files/a.dcm"


async def test_a_download_that_broke_off_goes_on_where_it_was(client: httpx.AsyncClient, bench: Bench) -> None:
    path = await path_of_file(bench)
    async with client.stream("GET", path) as broken:
        assert (broken.status_code, broken.headers["accept-ranges"]) == (200, "bytes")
        etag = broken.headers["etag"]
        got = b""
        async for chunk in broken.aiter_raw(chunk_size=100_000):
            got += chunk
            break
    rest = await client.get(path, headers={"Range": f"bytes={len(got)}-", "If-Range": etag})
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes {len(got)}-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert rest.headers["content-length"] == str(len(CONTENT) - len(got))
    assert got + rest.content == CONTENT
    assert rest.headers["repr-digest"] == (await client.head(path)).headers["repr-digest"]


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=300000-600000", 300_000, 600_001), ("bytes=-5", -5, None)],
)
async def test_a_part_is_what_was_asked_for(
    client: httpx.AsyncClient, bench: Bench, wanted: str, start: int, stop: int | None
) -> None:
    answer = await client.get(await path_of_file(bench), headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:stop])


async def test_what_is_no_longer_the_same_file_is_answered_whole(client: httpx.AsyncClient, bench: Bench) -> None:
    path = await path_of_file(bench)
    answer = await client.get(path, headers={"Range": "bytes=5-", "If-Range": '"another"'})
    assert (answer.status_code, answer.content == CONTENT) == (200, True)


async def test_a_part_behind_the_end_is_416(client: httpx.AsyncClient, bench: Bench) -> None:
    answer = await client.get(await path_of_file(bench), headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (answer.status_code, answer.headers["content-type"]) == (416, PROBLEM_MEDIA_TYPE)
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


async def test_who_has_the_file_is_told_so(client: httpx.AsyncClient, bench: Bench) -> None:
    path = await path_of_file(bench)
    head = await client.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(CONTENT)), b"")
    answer = await client.get(path, headers={"If-None-Match": head.headers["etag"]})
    assert (answer.status_code, answer.content) == (304, b"")


async def test_a_page_has_the_type_that_the_result_names(client: httpx.AsyncClient, bench: Bench) -> None:
    path = await path_of_file(bench, b"<!doctype html><meta charset=utf-8>", "text/html")
    for headers in ({}, {"Range": "bytes=0-3"}):
        answer = await client.get(path, headers=headers)
        assert answer.headers["content-type"] == "text/html"
        assert answer.headers["content-disposition"].startswith("attachment")


async def test_files_of_text_are_not_compressed_as_parts_of_them_are_asked_for(
    client: httpx.AsyncClient, bench: Bench
) -> None:
    path = await path_of_file(bench, b"a,b\n" * 5000, "text/csv")
    answer = await client.get(path, headers={"Range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"a,b\n")
    assert "content-encoding" not in (await client.get(path)).headers


async def test_previews_come_in_parts_too(client: httpx.AsyncClient, bench: Bench) -> None:
    path = await path_of_file(bench)
    digest = bench.blobs.put(CONTENT, "application/dicom").digest
    preview = path.replace("files/a.dcm", f"previews/{digest}")
    answer = await client.get(preview, headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.content) == (206, b"\x01\x02")
