"""Files that an answer links to: stored by services, served by the gateway for as long as results of jobs are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

import anyio.to_thread
import orjson
from pydantic import Field
from redis.asyncio import Redis

from shared.http.files import extension_of
from shared.jobs.connection import api_client, unavailable_without_redis
from shared.jobs.files import StoredFile
from shared.jobs.identifiers import is_job_id, new_job_id
from shared.problems import NotFound
from shared.request_context import public_path
from shared.settings import Settings
from shared.storage.blobs import BlobStore

_KEY: Final = "facet:answer-files:"


class AnswerFile(StoredFile):
    """A file that belongs to an answer."""

    href: str = Field(description="Path of the file", examples=["/v1/files/019878a1-.../enhancement.png"])
    expires_at: datetime = Field(description="When it is deleted")


@dataclass(frozen=True, slots=True)
class AnswerFiles:
    """The files of answers.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        blobs: where contents are.
        retention_s: seconds until the files of an answer are forgotten.
    """

    redis: Redis
    blobs: BlobStore
    retention_s: int

    async def add(self, contents: Mapping[str, bytes], *, name: str, owner: str) -> dict[str, AnswerFile]:
        """Store the files of one answer.

        Args:
            contents: of the files, by media type.
            name: stem of their names.
            owner: who may read them.

        Raises:
            ServiceUnavailable: Redis does not answer.

        Returns:
            What is known of each file, by its extension.
        """
        identifier = new_job_id()
        expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=self.retention_s)
        files: dict[str, AnswerFile] = {}
        for media_type, content in contents.items():
            blob = await anyio.to_thread.run_sync(self.blobs.put, content, media_type)
            extension = extension_of(media_type)
            files[extension] = AnswerFile(
                href=f"/v1/files/{identifier}/{quote(f'{name}.{extension}', safe='')}",
                type=media_type,
                size=blob.size,
                sha256=blob.digest.removeprefix("sha256:"),
                expires_at=expires_at,
            )
        digests = {f"{name}.{extension}": file.digest for extension, file in files.items()}
        record = orjson.dumps({"owner": owner, "files": digests})
        with unavailable_without_redis():
            await self.redis.set(_KEY + identifier, record, ex=self.retention_s)
        return {key: file.model_copy(update={"href": public_path(file.href)}) for key, file in files.items()}

    async def find(self, identifier: str, name: str, *, owner: str | None) -> str:
        """The digest of a file.

        Args:
            identifier: of the answer, as in its links.
            name: of the file.
            owner: who asks; None sees everybody's.

        Raises:
            NotFound: there is none, it was deleted, or it is another caller's.
            ServiceUnavailable: Redis does not answer.
        """
        stored = None
        if is_job_id(identifier):
            with unavailable_without_redis():
                stored = await self.redis.get(_KEY + identifier)
        record = orjson.loads(stored) if stored else {"owner": None, "files": {}}
        if owner not in (None, record["owner"]) or name not in record["files"]:
            hours = self.retention_s / 3600
            raise NotFound(f"There is no such file. Files of answers are kept for {hours:g} hours; post again.")
        return str(record["files"][name])


@asynccontextmanager
async def open_answer_files(settings: Settings, blobs: BlobStore) -> AsyncIterator[AnswerFiles]:
    """The files of answers over a connection of their own, closed at the end."""
    redis = api_client(settings.redis_url)
    try:
        yield AnswerFiles(redis, blobs, settings.job_retention_s)
    finally:
        await redis.aclose()
