"""What jobs say of their files, and earlier releases said."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.jobs.files import JobFiles, StoredFile, files_of
from shared.storage.blobs import BlobStore


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path)


def test_a_file_says_where_it_is_and_what(blobs: BlobStore) -> None:
    file = JobFiles("j", blobs).put("a b/ü.txt", b"text", "text/plain")
    assert file.model_dump() == {
        "href": "/v1/jobs/j/files/a%20b%2F%C3%BC.txt",
        "type": "text/plain",
        "size": 4,
        "sha256": hashlib.sha256(b"text").hexdigest(),
    }
    assert blobs.get(file.digest) == b"text"


def test_a_zip_has_all_files_so_far_and_is_the_same_each_time(blobs: BlobStore) -> None:
    files = JobFiles("j", blobs)
    files.put("b", b"2", "text/plain")
    files.put("a", b"1", "text/plain")
    first = files.pack_zip("all.zip")
    assert files.pack_zip("all.zip") == first
    assert list(files.files) == ["b", "a", "all.zip"]
    with zipfile.ZipFile(io.BytesIO(files.read("all.zip"))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a": b"1", "b": b"2"}


def test_a_checkpoint_of_an_earlier_release_goes_on(blobs: BlobStore) -> None:
    blob = blobs.put(b"slice", "application/dicom")
    earlier = {"digest": blob.digest, "media_type": "application/dicom", "size": 5}
    so_far = {"a.dcm": StoredFile.model_validate(earlier)}
    JobFiles("j", blobs, so_far).put("b.dcm", b"other", "application/dicom")
    assert [one.href for one in so_far.values()] == ["/v1/jobs/j/files/a.dcm", "/v1/jobs/j/files/b.dcm"]
    assert so_far["a.dcm"].digest == blob.digest
    assert JobFiles("j", blobs, so_far).read("a.dcm") == b"slice"


@pytest.mark.parametrize("wrong", [{}, {"digest": "sha256:xyz", "size": 1, "media_type": "a/b"}, "file", None])
def test_what_is_no_file_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        StoredFile.model_validate(wrong)


@pytest.mark.parametrize("result", [None, {}, {"files": ["a"]}, {"files": None}])
def test_results_without_files(result: object) -> None:
    assert files_of(result) == {}
