"""Files that answers link to: for their owner, for a time, and with all that files of jobs have."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest
from pydantic import SecretStr

from gateway.app import create_app
from shared.access.keys import KeyStore
from shared.answers.stored_files import AnswerFile, open_answer_files
from shared.jobs.connection import worker_client
from shared.problems import PROBLEM_MEDIA_TYPE
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.integration.gateway.keys import bearer
from tests.integration.gateway.servers import serve

PICTURE = b"\x89PNG a picture"


async def store(settings: Settings, *, owner: str) -> AnswerFile:
    async with open_answer_files(settings, BlobStore(settings.blob_url)) as files:
        stored = await files.add({"image/png": PICTURE, "application/x-npy": b"array"}, name="slice", owner=owner)
    assert list(stored) == ["png", "npy"]
    return stored["png"]


async def test_the_file_is_what_was_stored(client: httpx.AsyncClient, settings: Settings) -> None:
    file = await store(settings, owner="anonymous")
    answer = await client.get(file.href)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", PICTURE)
    assert answer.headers["etag"] == f'"{file.sha256}"'
    part = await client.get(file.href, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, PICTURE[1:4])


async def test_only_its_owner_and_an_admin_read_it(settings: Settings, keys: KeyStore) -> None:
    file = await store(settings, owner="ada")
    guarded = settings.model_copy(update={"api_keys": True, "fleet_token": SecretStr("between us")})
    shown = {
        "owner": await bearer(keys, "jobs:read"),
        "admin": await bearer(keys, "admin", owner="root"),
        "other": await bearer(keys, "jobs:read", owner="eve"),
        "without the scope": await bearer(keys, "models:run"),
        "nobody": {},
    }
    with serve(create_app(guarded)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            statuses = {name: (await client.get(file.href, headers=one)).status_code for name, one in shown.items()}
    assert statuses == {"owner": 200, "admin": 200, "other": 404, "without the scope": 403, "nobody": 401}


@pytest.mark.parametrize("path", ["/v1/files/x/slice.png", "/v1/files/..%2F/slice.png", "/v1/files/*/*"])
async def test_what_is_no_id_is_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM_MEDIA_TYPE)


async def test_a_file_of_another_name_is_404(client: httpx.AsyncClient, settings: Settings) -> None:
    file = await store(settings, owner="anonymous")
    assert (await client.get(file.href.replace("slice.png", "other.png"))).status_code == 404


async def test_it_is_forgotten_with_the_results_of_jobs(settings: Settings) -> None:
    await store(settings, owner="ada")
    with closing(worker_client(settings.redis_url)) as redis:
        (key,) = redis.scan_iter("facet:answer-files:*")
        assert settings.job_retention_s - 60 < int(redis.ttl(key)) <= settings.job_retention_s
