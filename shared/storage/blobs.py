"""Uploads and results by the digest of their content, on a folder or in a bucket.

Messages and job records carry digests, never payloads. A digest is also the permission to be wrong nowhere: what is
read is hashed again, so that a damaged blob raises instead of being served.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

DIGEST_PATTERN: Final = re.compile(r"sha256:[0-9a-f]{64}")
"""What an address looks like; checked before it comes near a path."""

DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"

_MEDIA_TYPE_PATTERN: Final = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)


class BlobMissing(LookupError):
    """No blob has this digest (or the digest is no digest at all). Callers decide on the HTTP answer."""


class BlobCorrupted(OSError):
    """The stored bytes no longer have the digest that they are filed under."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What is known of a stored blob.

    Attributes:
        digest: `sha256:` and 64 lower-case hexadecimal digits, the address.
        size: bytes.
        media_type: as given by whoever stored it.
    """

    digest: str
    size: int
    media_type: str


def digest_of(data: bytes) -> str:
    """The address of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class BlobStore:
    """Content-addressed blobs over fsspec.

    All calls block, so that coroutines go through a thread; one store serves any number of threads. Make one per
    process, after a fork: clients of remote stores do not survive forking.

    Args:
        url: a plain path or `file://` for a folder (made when missing, readable by this user only), or any URL that
            fsspec knows, such as `s3://bucket/prefix` or `memory://name`.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self._files, root = fsspec.core.url_to_fs(os.fspath(url))
        self._root = root.rstrip("/")
        self._local = isinstance(self._files, LocalFileSystem)
        if self._local:
            # Uploads may be patients' images: nobody else on the machine may read them.
            Path(self._root).mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, data: bytes, media_type: str = DEFAULT_MEDIA_TYPE) -> Blob:
        """Store bytes; storing the same bytes again is free and keeps the address, the newest media type wins.

        Raises:
            ValueError: the media type is not of the form `type/subtype`.
        """
        if not _MEDIA_TYPE_PATTERN.fullmatch(media_type):
            raise ValueError("a media type has the form type/subtype")
        blob = Blob(digest_of(data), len(data), media_type)
        path = self._path(blob.digest)
        # The type goes first: whoever sees the content then finds its type as well.
        self._write(f"{path}.type", media_type.encode("ascii"))
        if not self._files.exists(path) or self._files.size(path) != blob.size:
            self._write(path, data)
        return blob

    def get(self, digest: str) -> bytes:
        """All bytes of a blob, checked against its digest.

        Raises:
            BlobMissing: there is none.
            BlobCorrupted: what is stored is not what was put.
        """
        data = self._read(self._path(digest), digest)
        if digest_of(data) != digest:
            raise BlobCorrupted(f"the content of {digest} has changed in the store")
        return data

    def open(self, digest: str) -> BinaryIO:
        """A stream over a blob, for passing on what need not be in memory at once. Not checked against the digest.

        Raises:
            BlobMissing: there is none.
        """
        try:
            return cast("BinaryIO", self._files.open(self._path(digest), "rb"))
        except FileNotFoundError:
            raise BlobMissing(f"no blob {digest}") from None

    def exists(self, digest: str) -> bool:
        """Whether there is a blob with this digest; false for what is no digest."""
        return DIGEST_PATTERN.fullmatch(digest) is not None and bool(self._files.isfile(self._path(digest)))

    def describe(self, digest: str) -> Blob:
        """Size and media type of a blob without reading it.

        Raises:
            BlobMissing: there is none.
        """
        path = self._path(digest)
        try:
            size = int(self._files.size(path))
        except FileNotFoundError:
            raise BlobMissing(f"no blob {digest}") from None
        return Blob(digest, size, self._read(f"{path}.type", digest).decode("ascii"))

    def media_type(self, digest: str) -> str:
        """The media type that a blob was stored with.

        Raises:
            BlobMissing: there is none.
        """
        return self.describe(digest).media_type

    def delete(self, digest: str) -> None:
        """Remove a blob; removing one that is not there is no error."""
        path = self._path(digest)
        # The content goes first: a content without a type would be a blob that nobody can describe.
        for name in (path, f"{path}.type"):
            try:
                self._files.rm_file(name)
            except FileNotFoundError:
                continue

    def _path(self, digest: str) -> str:
        if not DIGEST_PATTERN.fullmatch(digest):
            raise BlobMissing("an address is sha256: and 64 lower-case hexadecimal digits")
        name = digest.removeprefix("sha256:")
        return f"{self._root}/{name[:2]}/{name[2:4]}/{name}"

    def _read(self, path: str, digest: str) -> bytes:
        try:
            return cast("bytes", self._files.cat_file(path))
        except FileNotFoundError:
            raise BlobMissing(f"no blob {digest}") from None

    def _write(self, path: str, data: bytes) -> None:
        if not self._local:
            # Object stores show a new object whole or not at all.
            self._files.pipe_file(path, data)
            return
        folder = Path(path).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not synced to disk: a power cut may lose or damage a blob, and reading it then says so.
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
