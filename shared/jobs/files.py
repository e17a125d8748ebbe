"""The files that a job makes: `result["files"][name]`, written by workers and served by the gateway."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field, model_validator

from shared.http.negotiation import ZIP
from shared.jobs.context import JobContext
from shared.jobs.identifiers import job_path
from shared.storage.blobs import BlobStore
from shared.storage.zips import pack_zip


class StoredFile(BaseModel):
    """A file that a job made."""

    href: str = Field(description="Path of the file", examples=["/v1/jobs/019878a1-.../files/series.zip"])
    type: str = Field(description="Media type", examples=["application/zip"])
    size: int = Field(description="Bytes")
    sha256: str = Field(description="Of the content, hexadecimal", pattern="^[0-9a-f]{64}$")

    @property
    def digest(self) -> str:
        """Address in the blob store."""
        return f"sha256:{self.sha256}"

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_form(cls, value: Any) -> Any:
        """Results of an earlier release name files by `digest` and `media_type`, and checkpoints do."""
        if not isinstance(value, dict) or "digest" not in value:
            return value
        sha256 = str(value["digest"]).removeprefix("sha256:")
        return {"href": "", "type": value.get("media_type"), "size": value.get("size"), "sha256": sha256}


class JobFiles:
    """The files of one job.

    Args:
        job_id: of the job.
        blobs: where they are stored.
        files: those of an earlier attempt; added to in place, so that it can be a part of a checkpoint.
    """

    def __init__(self, job_id: str, blobs: BlobStore, files: dict[str, StoredFile] | None = None) -> None:
        self._folder = f"{job_path(job_id)}/files"
        self._blobs = blobs
        self.files = {} if files is None else files
        # A checkpoint may be of an earlier release, whose files had no href.
        self.files.update({name: one.model_copy(update={"href": self._href(name)}) for name, one in self.files.items()})

    @classmethod
    def of(cls, context: JobContext, files: dict[str, StoredFile] | None = None) -> JobFiles:
        """The files of the job that a context belongs to."""
        return cls(context.job_id, context.blobs, files)

    def put(self, name: str, content: bytes, media_type: str) -> StoredFile:
        """Store a file.

        Args:
            name: last part of its path.
            content: of the file.
            media_type: of the content.
        """
        blob = self._blobs.put(content, media_type)
        sha256 = blob.digest.removeprefix("sha256:")
        file = self.files[name] = StoredFile(href=self._href(name), type=media_type, size=blob.size, sha256=sha256)
        return file

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            KeyError: there is none of this name.
        """
        return self._blobs.get(self.files[name].digest)

    def pack_zip(self, name: str) -> StoredFile:
        """Store all files so far in one ZIP, with a fixed date so that a repeated attempt makes the same bytes.

        Args:
            name: of the ZIP.
        """
        packed = pack_zip((one, self.read(one)) for one in self.files if one != name)
        return self.put(name, packed, ZIP)

    def _href(self, name: str) -> str:
        return f"{self._folder}/{quote(name, safe='')}"


def files_of(result: Any) -> dict[str, Any]:
    """What a result says of its files, by name; each is a `StoredFile`."""
    files = result.get("files") if isinstance(result, dict) else None
    return files if isinstance(files, dict) else {}
