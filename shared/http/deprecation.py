"""Fields of requests that have got another name: both are accepted for a release, and the answer says so (RFC 9745)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel

_SINCE = "x-deprecated-since"


DEPRECATION: Final = {
    "Deprecation": {
        "description": "Since when a field that was sent is deprecated, `@` and Unix seconds (RFC 9745)",
        "schema": {"type": "string"},
    }
}
"""OpenAPI of the header field of such an answer."""


def deprecated_since(moment: datetime) -> dict[str, Any]:
    """`json_schema_extra` of a field that is deprecated.

    Args:
        moment: since when, with a time zone.
    """
    return {"deprecated": True, _SINCE: moment.isoformat()}


def deprecation_headers(options: BaseModel) -> dict[str, str]:
    """`Deprecation` of an answer to a request that gave deprecated fields, with the latest of their dates; else none.

    The value is a date of Structured Fields (RFC 9651, section 3.3.7), as RFC 9745, section 2.1, asks.
    """
    fields = type(options).model_fields
    extras = (fields[name].json_schema_extra for name in options.model_fields_set if name in fields)
    moments = [str(extra[_SINCE]) for extra in extras if isinstance(extra, dict) and _SINCE in extra]
    return {"Deprecation": f"@{max(_seconds(one) for one in moments)}"} if moments else {}


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
