"""ZIPs that tests post: the same bytes whenever they are made, since a job says what digest its data set has."""

from __future__ import annotations

from collections.abc import Mapping

from shared.storage.zips import pack_zip


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """A ZIP of these files, texts as UTF-8."""
    return pack_zip((name, one.encode() if isinstance(one, str) else one) for name, one in files.items())
