"""`?format=png` beside the Accept header: for links, `<img>` and clients that cannot say what they accept.

The gateway puts it into the Accept header that the service reads, so that a service knows one way to choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Scope

from shared.http.negotiation import DICOM, JSON, NPY, ONNX, PNG, SVG, ZIP
from shared.problems import field_problem
from shared.settings import DOMAINS

MEDIA_TYPES: Final[Mapping[str, str]] = {
    "json": JSON, "png": PNG, "npy": NPY, "svg": SVG, "dicom": DICOM, "zip": ZIP, "onnx": ONNX,
}  # fmt: skip
"""By name in the query."""

_NAMES: Final = {media_type: name for name, media_type in MEDIA_TYPES.items()}
_SERVICES: Final = tuple(f"/v1/{domain}/" for domain in DOMAINS)
_KEY: Final = b"format="


def accept_format(scope: Scope) -> None:
    """Let the request of a service accept the format that its query names, and nothing else.

    Raises:
        UnprocessableContent: there is no such format, or there are several.
    """
    query: bytes = scope["query_string"]
    if _KEY not in query or not scope["path"].startswith(_SERVICES):
        return
    parts = query.split(b"&")
    named = [part.removeprefix(_KEY) for part in parts if part.startswith(_KEY)]
    if not named:
        return
    name = named[0].decode("ascii", "replace").lower()
    if len(named) > 1:
        raise field_problem("/query/format", "Name one format.")
    if name not in MEDIA_TYPES:
        raise field_problem("/query/format", f"There is no such format. Known are {', '.join(MEDIA_TYPES)}.")
    scope["query_string"] = b"&".join(part for part in parts if not part.startswith(_KEY))
    others = [(field, value) for field, value in scope["headers"] if field != b"accept"]
    scope["headers"] = [*others, (b"accept", MEDIA_TYPES[name].encode())]


def describe_formats(operation: dict[str, Any]) -> None:
    """Add the parameter to an operation of a service that answers in more than one format."""
    answers = (answer for status, answer in operation.get("responses", {}).items() if status.startswith("2"))
    offered = {kind: None for answer in answers for kind in answer.get("content", {}) if kind in _NAMES}
    if len(offered) > 1:
        names = [_NAMES[kind] for kind in offered]
        parameter = {
            "name": "format",
            "in": "query",
            "required": False,
            "description": "What is answered, in the place of the Accept header",
            "schema": {"type": "string", "enum": names},
        }
        operation["parameters"] = [*operation.get("parameters", []), parameter]
