"""Multipart bodies, whole or not at all: a form that was cut off is refused instead of read without its last part.

HTTP framing may be right while the body's own is not: a client that died while it wrote its body to a file posts a
form without its end, and whoever reads what is there computes with defaults for the rest (RFC 2046, section 5.1.1: the
close-delimiter is required; what stands before the first delimiter and behind the last is to be ignored).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from email.message import Message
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

_LONGEST_PREAMBLE: Final = 64 * 1024
_NOT_IN_NAMES: Final = dict.fromkeys(map(ord, '"\\'), "_")


class WholeMultiPartParser(MultiPartParser):
    """Starlette's parser, which also looks for the end, and not at what stands before the beginning.

    Args:
        headers: of the request.
        stream: its body.
        max_files: parts with a file name.
        max_fields: other parts.
        max_part_size: bytes of one part that is no file.
    """

    def __init__(
        self,
        headers: Headers,
        stream: AsyncGenerator[bytes, None],
        *,
        max_files: int,
        max_fields: int,
        max_part_size: int,
    ) -> None:
        boundary = parse_options_header(headers["content-type"])[1].get(b"boundary", b"")
        stream = without_preamble(stream, boundary) if boundary else stream
        super().__init__(headers, stream, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size)
        self._ended = False

    def on_headers_finished(self) -> None:
        """The fields of a part were read; one that names its file by `filename*` alone is a file as well.

        RFC 7578, section 4.2, forbids that, and urllib3 before 1.25 sends it for names that are not ASCII.
        """
        part = self._current_part
        said = part.content_disposition or b""
        if b"filename*" in said.lower() and b"filename" not in parse_options_header(said)[1]:
            part.content_disposition = said + _file_name(said)
        super().on_headers_finished()

    def on_end(self) -> None:
        """The close-delimiter was read."""
        self._ended = True

    async def parse(self) -> FormData:
        """Read the form.

        Raises:
            MultiPartException: malformed, more than allowed, or without its end.
        """
        form = await super().parse()
        if not self._ended:
            for file in self._files_to_close_on_error:  # among them one whose part was never finished
                file.close()
            raise MultiPartException("It ends without its closing delimiter, so it was cut off on its way.")
        return form


def _file_name(disposition: bytes) -> bytes:
    """The parameter `filename` of a field that has `filename*` (RFC 8187); nothing where it only looks as if it had."""
    field = Message()
    field["Content-Disposition"] = disposition.decode("latin-1")
    if (name := field.get_filename()) is None:
        return b""
    return b'; filename="' + (name.translate(_NOT_IN_NAMES) or "unnamed").encode("utf-8", "replace") + b'"'


async def without_preamble(stream: AsyncGenerator[bytes, None], boundary: bytes) -> AsyncGenerator[bytes, None]:
    """A multipart body from its first delimiter on; all of it where there is none in the first 64 KiB.

    Args:
        stream: the body in parts.
        boundary: of the form.
    """
    delimiter, head, found = b"--" + boundary, b"", False
    async for chunk in stream:
        if found:
            yield chunk
            continue
        head += chunk
        start = 0 if head.startswith(delimiter) else head.find(b"\r\n" + delimiter)
        if start >= 0 or len(head) > _LONGEST_PREAMBLE:
            found = True
            yield head[max(0, start) :]
    if not found:
        yield head
