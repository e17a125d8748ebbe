"""The key in the OpenAPI document: every POST takes it, whichever service answers."""

from __future__ import annotations

from typing import Any

from gateway.idempotency.runner import EXPIRES, HEADER, LONGEST_KEY, REPLAYED
from shared.problems import Conflict, UnprocessableContent, problem_responses

# It has no example: a page that fills in examples would send all requests of all its visitors with one key.
_PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "Makes a retry safe: requests with the same key and content are executed once, and the first answer is given "
        "again. A quoted string of your choice, a UUID for example, new for each new request."
    ),
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_KEY,
        "pattern": r'^("[!-~ ]+"|[A-Za-z0-9._~:/+=-]+)$',
    },
}

_HEADERS: dict[str, Any] = {
    EXPIRES: {
        "description": "Where the request had a key: when the key is forgotten, as an HTTP date",
        "schema": {"type": "string"},
    },
    REPLAYED: {
        "description": "`true` where this is the stored answer of an earlier request with the same key",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

_TEXTS = {
    "409": "The first request with this Idempotency-Key is still being worked on",
    "422": "The Idempotency-Key was used for another request",
}


def describe_keys(document: dict[str, Any]) -> None:
    """Add the header, what it may be answered with, and the headers of the answer to every POST of a document."""
    answers = {str(status): answer for status, answer in problem_responses(Conflict, UnprocessableContent).items()}
    for item in document.get("paths", {}).values():
        if "post" not in item:
            continue
        operation = item["post"]
        operation["parameters"] = [*operation.get("parameters", []), _PARAMETER]
        responses = operation.setdefault("responses", {})
        for status, answer in answers.items():
            responses.setdefault(status, answer | {"description": _TEXTS[status]})
        for status, answer in responses.items():
            if status.startswith("2"):
                answer["headers"] = answer.get("headers", {}) | _HEADERS
