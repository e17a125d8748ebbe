"""Keys in the OpenAPI document: Swagger UI's *Authorize*, what each route needs, and how it is refused."""

from __future__ import annotations

from typing import Any

from shared.access.scopes import PUBLIC, AccessPolicy
from shared.problems import Forbidden, TooManyRequests, Unauthorized, problem_responses

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def describe_access(document: dict[str, Any], access: AccessPolicy | None) -> None:
    """Add the security scheme to a document, and to each operation its scope, 401, 403 and 429.

    Args:
        document: to be changed.
        access: says which scope a route needs; None where callers are not asked for keys. The scheme is there all the
            same, so that clients that are generated from such a fleet can be used with one that asks.
    """
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer", "description": "An API key, `facet_...`"}
    if access is None:
        document["security"] = [{}, {"key": []}]
        return
    answers = problem_responses(Unauthorized, Forbidden, TooManyRequests)
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method not in item:
                continue
            operation, needed = item[method], access.needed_scope(method.upper(), path)
            operation["security"] = [] if needed == PUBLIC else [{"key": []}]
            if needed == PUBLIC:
                continue
            operation["x-scope"] = needed
            for status, answer in answers.items():
                operation.setdefault("responses", {}).setdefault(str(status), answer)
