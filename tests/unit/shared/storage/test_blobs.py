"""The blob store over a real folder, over fsspec's memory store and over HTTP in a bucket of an S3 server."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from shared.storage.blobs import Blob, BlobCorrupted, BlobMissing, BlobStore, digest_of

ABSENT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "any")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("facet")
        yield "s3://facet"
    server.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "folder":
        return BlobStore(tmp_path / "blobs")
    if request.param == "memory":
        return BlobStore(f"memory://{uuid.uuid4().hex}")
    return BlobStore(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")


def test_put_answers_the_sha256_of_the_content(store: BlobStore) -> None:
    blob = store.put(b"sinogram", "application/x-npy")
    assert blob == Blob("sha256:" + hashlib.sha256(b"sinogram").hexdigest(), 8, "application/x-npy")
    assert store.get(blob.digest) == b"sinogram"
    assert store.describe(blob.digest) == blob
    assert store.media_type(blob.digest) == "application/x-npy"
    assert store.exists(blob.digest)


@given(data=st.binary(max_size=4096))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_put_is_got(store: BlobStore, data: bytes) -> None:
    digest = store.put(data, "application/octet-stream").digest
    assert digest == digest_of(data)
    assert store.get(digest) == data
    with store.open(digest) as stream:
        assert stream.read() == data


def test_missing_blobs(store: BlobStore) -> None:
    assert not store.exists(ABSENT)
    for ask in (store.get, store.open, store.describe, store.media_type):
        with pytest.raises(BlobMissing):
            ask(ABSENT)
    store.delete(ABSENT)


@pytest.mark.parametrize(
    "address",
    ["", "../../etc/passwd", "sha256:../../../etc/passwd", "sha256:" + "A" * 64, "sha256:" + "a" * 63,
     "sha256:" + "a" * 64 + "\n", "md5:" + "a" * 32, "sha256:" + "a" * 60 + "/../"],
)  # fmt: skip
def test_nothing_but_a_digest_is_an_address(store: BlobStore, address: str) -> None:
    assert not store.exists(address)
    for ask in (store.get, store.open, store.describe, store.delete):
        with pytest.raises(BlobMissing):
            ask(address)


def test_blob_missing_is_a_lookup_error() -> None:
    assert issubclass(BlobMissing, LookupError)


def test_deleted_is_gone(store: BlobStore) -> None:
    digest = store.put(b"x", "text/plain").digest
    store.delete(digest)
    assert not store.exists(digest)
    with pytest.raises(BlobMissing):
        store.describe(digest)


def test_the_newest_media_type_wins(store: BlobStore) -> None:
    store.put(b"x", "application/octet-stream")
    assert store.describe(store.put(b"x", "text/plain; charset=utf-8").digest).media_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize("media_type", ["", "png", "text/plain\r\nX: y", "a/b/c", "text/ü"])
def test_media_types_are_checked(store: BlobStore, media_type: str) -> None:
    with pytest.raises(ValueError, match="type/subtype"):
        store.put(b"x", media_type)


def _content_file(folder: Path, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return folder / name[:2] / name[2:4] / name


def test_a_changed_blob_is_not_served(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))
    digest = store.put(b"original", "text/plain").digest
    _content_file(tmp_path, digest).write_bytes(b"tampered")
    with pytest.raises(BlobCorrupted):
        store.get(digest)


def test_a_truncated_blob_is_repaired_by_the_next_put(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"original", "text/plain").digest
    _content_file(tmp_path, digest).write_bytes(b"orig")
    with pytest.raises(BlobCorrupted):
        store.get(digest)
    store.put(b"original", "text/plain")
    assert store.get(digest) == b"original"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(tmp_path)

    def refuse(self: Path, target: str) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        store.put(b"original", "text/plain")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not store.exists(digest_of(b"original"))


def test_the_folder_is_closed_to_others(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "private")
    digest = store.put(b"x", "text/plain").digest
    assert (tmp_path / "private").stat().st_mode & 0o077 == 0
    assert _content_file(tmp_path / "private", digest).stat().st_mode & 0o077 == 0


def test_many_threads_put_and_get_the_same_blobs(store: BlobStore) -> None:
    contents = [bytes([number]) * 2000 for number in range(8)] * 8

    def round_trip(data: bytes) -> bool:
        return store.get(store.put(data, "application/octet-stream").digest) == data

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(round_trip, contents))


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    digest = BlobStore(f"file://{tmp_path}/blobs").put(b"x", "text/plain").digest
    assert BlobStore(tmp_path / "blobs").get(digest) == b"x"
