"""ZIPs that are made here: the same bytes for the same files, and files that whoever unpacks them may read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from typing import Final

_READABLE: Final = 0o644 << 16
"""Without it, `unzip` makes files that nobody may read."""


def pack_zip(files: Iterable[tuple[str, bytes]], *, compressed: bool = True) -> bytes:
    """A ZIP of files by name, in this order, all of the first date that the format knows.

    Args:
        files: names and contents, taken one by one.
        compressed: deflated, or stored as they are.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = _READABLE
            archive.writestr(entry, content, method)
    return packed.getvalue()
