"""ZIPs that tests post: the same bytes whenever they are made, since a job says what digest its data set has."""

from __future__ import annotations

from collections.abc import Mapping

from shared.storage.zips import pack_zip


def zipped(files: Mapping[str, bytes | str], *, compressed: bool = True) -> bytes:
    """A ZIP of these files, texts as UTF-8."""
    contents = ((name, content.encode() if isinstance(content, str) else content) for name, content in files.items())
    return pack_zip(contents, compressed=compressed)
