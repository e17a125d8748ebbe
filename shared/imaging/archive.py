"""ZIP uploads, inflated in memory under limits that count real bytes.

Sizes in a ZIP's headers are claims of whoever made it, so every limit is held against what comes out of the inflater.
Names are labels for the answer and never become paths.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from shared.imaging.signatures import MediaType, describe, require_type, sniff
from shared.problems import ContentTooLarge, FieldError, Problem, UnprocessableContent, field_problem

_CHUNK: Final = 256 * 1024
_NAME_LIMIT: Final = 200
_CENTRAL_RECORD: Final = b"PK\x01\x02"
_ENCRYPTED: Final = 0x1
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes:
        entries: files.
        entry_bytes: bytes of one file, inflated.
        total_bytes: bytes of all files, inflated.
        ratio: inflated by compressed size of a file; counts once the file exceeds `ratio_floor_bytes`, since small
            slices of plain air compress better than this honestly.
        ratio_floor_bytes: see `ratio`.
    """

    entries: int = 1024
    entry_bytes: int = 64 * 1024 * 1024
    total_bytes: int = 512 * 1024 * 1024
    ratio: int = 200
    ratio_floor_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive.

    Attributes:
        name: a relative path without dots, drives or control characters; a label, not for use as a path.
        data: the content.
    """

    name: str
    data: bytes


def read_archive(data: bytes, limits: ArchiveLimits | None = None, *, pointer: str = "/body/file") -> list[Entry]:
    """All files of a ZIP archive in natural order of their names (slice 2 before slice 10).

    Folders, hidden files, resource forks of macOS and DICOMDIR are skipped.

    Args:
        data: the archive.
        limits: what it may hold; the defaults of ArchiveLimits otherwise.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType: not a ZIP file.
        ContentTooLarge: more entries or bytes than allowed, or a bomb.
        UnprocessableContent: damaged, encrypted, empty, nested, or packed by a method other than store and deflate.
    """
    archive = Archive(data, limits, pointer=pointer)
    return [Entry(name, archive.read(name)) for name in archive.names]


class Archive:
    """A ZIP archive whose files are inflated one by one, when they are asked for; the compressed bytes stay in memory.

    What `read_archive` skips and refuses is skipped and refused here, too; contents only when they are read.

    Args:
        data: the archive.
        limits: what it may hold; the defaults of ArchiveLimits otherwise. `total_bytes` is held against all files that
            have been read, each counted once.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType: not a ZIP file.
        ContentTooLarge: more entries than allowed.
        UnprocessableContent: the directory is damaged, a name occurs twice, a file is encrypted, a link, or packed by a
            method other than store and deflate, or there are no files.
    """

    def __init__(self, data: bytes, limits: ArchiveLimits | None = None, *, pointer: str = "/body/file") -> None:
        require_type(data, [MediaType.ZIP], pointer=pointer)
        self._limits, self._pointer = limits or ArchiveLimits(), pointer
        # Counted before zipfile makes an object of each of what may be a million records.
        if data.count(_CENTRAL_RECORD) > 4 * self._limits.entries:
            raise _too_large(pointer, f"The archive has more than {self._limits.entries} entries.")
        try:
            self._file = zipfile.ZipFile(io.BytesIO(data))
            self._members = _list_members(self._file, self._limits, pointer)
        except Problem:
            raise
        except Exception:  # zipfile throws anything at damaged bytes; the caller is told the same
            raise field_problem(pointer, "The archive is cut off or damaged: its directory cannot be read.") from None
        if not self._members:
            raise field_problem(pointer, "The archive holds no files.")
        self._names = tuple(sorted(self._members, key=natural_key))
        self._inflated: dict[str, int] = {}
        self._total = 0

    @property
    def names(self) -> Sequence[str]:
        """Of all files, in natural order."""
        return self._names

    def read(self, name: str) -> bytes:
        """Inflate a file.

        Raises:
            KeyError: there is none of this name.
            ContentTooLarge: it, or all that was read, is more than allowed.
            UnprocessableContent: it is damaged, or itself an archive.
        """
        info = self._members[name]
        known = self._inflated.get(name, 0)
        remaining = self._limits.total_bytes - self._total + known
        content = _inflate(self._file, info, name, self._limits, remaining, self._pointer)
        _require_not_nested(name, content, self._pointer)
        self._total += len(content) - known
        self._inflated[name] = len(content)
        return content

    def read_start(self, name: str, count: int) -> bytes:
        """Inflate the first bytes of a file, at most `count`: enough to see what it is.

        Raises:
            KeyError: there is none of this name.
            UnprocessableContent: it is damaged.
        """
        try:
            with self._file.open(self._members[name]) as stream:
                return stream.read(count)
        except Exception:  # as above
            raise field_problem(self._pointer, f"The entry {name!r} is cut off or damaged.") from None


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which numbers inside a name count as numbers."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts))


def clean_name(name: str) -> str:
    """A name as `Archive` states it: a relative path without dots, drives and control characters, / between parts."""
    path = PurePosixPath(_CONTROL.sub("_", name.replace("\\", "/")))
    parts = [part for part in path.parts if part not in {"/", "//", "..", "."} and not part.endswith(":")]
    return "/".join(parts)[-_NAME_LIMIT:] or "unnamed"


def _too_large(pointer: str, detail: str) -> ContentTooLarge:
    return ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def _list_members(archive: zipfile.ZipFile, limits: ArchiveLimits, pointer: str) -> dict[str, zipfile.ZipInfo]:
    members = [(clean_name(info.filename), info) for info in archive.infolist() if not info.is_dir()]
    members = [(name, info) for name, info in members if not _is_clutter(name)]
    if len(members) > limits.entries:
        raise _too_large(pointer, f"The archive has {len(members)} entries; at most {limits.entries} are accepted.")
    found: dict[str, zipfile.ZipInfo] = {}
    for name, info in members:
        if name in found:
            raise field_problem(pointer, f"The archive holds the name {name!r} twice.")
        _require_plain(name, info, pointer)
        found[name] = info
    return found


def _is_clutter(name: str) -> bool:
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] in {"DICOMDIR", "Thumbs.db", "desktop.ini"}


def _require_plain(name: str, info: zipfile.ZipInfo, pointer: str) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise field_problem(pointer, f"The entry {name!r} is encrypted.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise field_problem(pointer, f"The entry {name!r} is a symbolic link.")
    if info.compress_type not in _METHODS:
        raise field_problem(
            pointer, f"The entry {name!r} is packed by method {info.compress_type}; use store or deflate."
        )


def _inflate(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, limits: ArchiveLimits, remaining: int, pointer: str
) -> bytes:
    content = bytearray()
    try:
        with archive.open(info) as stream:
            while chunk := stream.read(_CHUNK):
                content += chunk
                _require_within(len(content), info, name, limits, remaining, pointer)
    except Problem:
        raise
    except Exception:  # as above
        raise field_problem(pointer, f"The entry {name!r} is cut off or damaged.") from None
    return bytes(content)


def _require_within(
    size: int, info: zipfile.ZipInfo, name: str, limits: ArchiveLimits, remaining: int, pointer: str
) -> None:
    if size > limits.entry_bytes:
        raise _too_large(pointer, f"The entry {name!r} inflates to more than {limits.entry_bytes} bytes.")
    if size > remaining:
        raise _too_large(pointer, f"The archive inflates to more than {limits.total_bytes} bytes, at {name!r}.")
    if size > limits.ratio_floor_bytes and size > limits.ratio * max(1, info.compress_size):
        raise _too_large(pointer, f"The entry {name!r} inflates to more than {limits.ratio} times its size.")


def _require_not_nested(name: str, content: bytes, pointer: str) -> None:
    if sniff(content) is MediaType.ZIP or describe(content).endswith("archive"):
        raise UnprocessableContent(
            f"The entry {name!r} is itself an archive; send its files directly.",
            errors=[FieldError(pointer=pointer, detail="nested archive")],
        )
