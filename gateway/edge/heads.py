"""What the head of a request must be like before anything else is asked of it (RFC 9110, RFC 9112)."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from shared.problems import BadRequest, HeadersTooLarge, NotFound, NotImplementedHere
from shared.settings import Settings

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SEPARATORS: Final = (b"%2f", b"%5c", b"%00")
"""Encoded separators: one party would see one segment of a path where the next sees two."""

_CLOSE: Final = {"Connection": "close"}
_LINE_OVERHEAD: Final = 4
"""Bytes of a header line beside name and value."""


def check_head(scope: Scope, settings: Settings) -> None:
    """Refuse a head that is too large, or that a server and a service could read differently.

    The server has refused already what is no HTTP, and heads far beyond these limits.

    Raises:
        HeadersTooLarge: more bytes or fields than the settings allow.
        NotImplementedHere: a method or a transfer coding that is not known (RFC 9110, 15.6.2; RFC 9112, 6.1).
        NotFound: the path has encoded separators, or segments that lead elsewhere.
        BadRequest: the address holds bytes that an address may not.
    """
    headers = scope["headers"]
    address: bytes = scope.get("raw_path") or scope["path"].encode()
    size = len(address) + len(scope["query_string"])
    codings: list[bytes] = []
    for name, value in headers:
        size += len(name) + len(value) + _LINE_OVERHEAD
        if name == b"transfer-encoding":
            codings.append(value.strip().lower())
    if codings not in ([], [b"chunked"]):
        raise NotImplementedHere("Of transfer codings, only chunked is known here, once.", headers=_CLOSE)
    if size > settings.head_limit_bytes or len(headers) > settings.head_fields_limit:
        raise HeadersTooLarge(
            f"The head of the request has {size} bytes and {len(headers)} fields; at most "
            f"{settings.head_limit_bytes} bytes and {settings.head_fields_limit} fields are taken.",
            headers=_CLOSE,
        )
    if scope["method"] not in _METHODS:
        raise NotImplementedHere("This method is not known here. Methods are written in capitals: GET, POST.")
    _check_address(address, scope["query_string"], scope["path"])


def _check_address(address: bytes, query: bytes, path: str) -> None:
    whole = address + query
    if not whole.isascii() or b" " in whole or b"#" in whole:
        raise BadRequest("The address holds characters that must be percent-encoded.")
    if b"%" in address and any(separator in address.lower() for separator in _SEPARATORS):
        raise NotFound("A path with an encoded slash, backslash or zero byte leads nowhere here.")
    if "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
        raise NotFound("A path with the segments . or .. leads nowhere here.")
