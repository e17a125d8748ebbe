"""Which part of a file is asked for (RFC 9110, section 14): one range of bytes, so that a broken download goes on.

Several ranges in one request, and units other than bytes, are answered with the whole, as section 14.2 allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shared.problems import RangeNotSatisfiable

_RANGE: Final = re.compile(r"bytes\s*=\s*(?P<first>[0-9]{0,18})\s*-\s*(?P<last>[0-9]{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file.

    Attributes:
        start: its first byte.
        stop: the byte after its last.
        size: bytes of the whole file.
    """

    start: int
    stop: int
    size: int

    @property
    def content_range(self) -> str:
        """Content-Range of the answer (section 14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


def requested_part(range_header: str | None, if_range: str | None, *, etag: str, size: int) -> Part | None:
    """The part that a request asks for; None where the whole is to be answered.

    Args:
        range_header: Range of the request.
        if_range: If-Range of the request: the part is wanted only of the file that has this entity tag. A date never
            matches, as files have none.
        etag: strong entity tag of the file.
        size: bytes of the file.

    Raises:
        RangeNotSatisfiable: there is no such part.
    """
    match = _RANGE.fullmatch(range_header.strip()) if range_header else None
    if match is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = match["first"], match["last"]
    if not first and not last:
        return None
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise RangeNotSatisfiable(
            f"The file has {size} bytes, and bytes {first}-{last} of it are none.",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        )
    return Part(start, stop, size)


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has this file already (section 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return "*" in tags or etag in tags
