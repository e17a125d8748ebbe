"""What makes two requests the same: everything that shapes the answer, nothing that a client makes up anew each time.

A client that repeats an upload writes its multipart body with another boundary. So multipart bodies are compared part
by part, with the parts' own headers; other bodies byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from mmap import mmap

from starlette.datastructures import Headers
from starlette.types import Scope

_SHAPING = ("accept", "prefer", "inference-header-content-length")


def fingerprint(scope: Scope, body: bytes | mmap) -> str:
    """64 hexadecimal digits that are equal for equal requests.

    Args:
        scope: method, path, query, and the headers Accept, Prefer, Content-Type and Inference-Header-Content-Length
            count. No Accept means the same as `*/*`; Content-Encoding does not count, as the body is inflated.
        body: the whole body, inflated.
    """
    headers = Headers(scope=scope)
    content_type = headers.get("content-type", "")
    essence, boundary = _split_content_type(content_type)
    digest = hashlib.sha256()
    parts = [scope["method"], scope["path"], scope["query_string"].decode("latin-1"), essence]
    for part in parts + [_shape(headers, name) for name in _SHAPING]:
        _add(digest, part.encode("utf-8", "surrogateescape"))
    with memoryview(body) as view:
        for segment in _segments(body, view, boundary):
            _add(digest, segment)
            segment.release()
    return digest.hexdigest()


def _shape(headers: Headers, name: str) -> str:
    value = ", ".join(headers.getlist(name)).strip()
    return "" if name == "accept" and value == "*/*" else value


def _add(digest: hashlib._Hash, part: bytes | memoryview) -> None:
    """Add a part with its length in front, so that no two lists of parts look alike."""
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)


def _split_content_type(value: str) -> tuple[str, bytes]:
    """The type with all parameters but the boundary, and the boundary of a multipart type."""
    kind, *parameters = (piece.strip() for piece in value.split(";"))
    boundary, rest = b"", [kind.lower()]
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip().lower() == "boundary" and kind.lower().startswith("multipart/"):
            boundary = text.strip().strip('"').encode("latin-1", "replace")
        else:
            rest.append(parameter)
    return ";".join(rest), boundary


def _segments(content: bytes | mmap, view: memoryview, boundary: bytes) -> Iterator[memoryview]:
    """What is between the delimiters of a multipart body (RFC 2046, section 5.1.1); else the whole body."""
    if not boundary:
        yield view[:]
        return
    delimiter, position = b"--" + boundary, 0
    while (found := content.find(delimiter, position)) >= 0:
        yield view[position:found]
        position = found + len(delimiter)
    yield view[position:]
