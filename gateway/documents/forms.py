"""How forms are to be sent, said where Swagger UI and generators of clients read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.documents.merging import Document, operations

_MULTIPART = "multipart/form-data"
_REPEATED = {"style": "form", "explode": True}


def describe_lists(document: Document) -> None:
    """Say of fields that take several values that they are repeated: the default of OpenAPI, which few read so.

    Without it Swagger UI and openapi-generator join values with commas (OpenAPI 3.1, section 4.8.15).
    """
    for operation in operations(document):
        form = operation.get("requestBody", {}).get("content", {}).get(_MULTIPART)
        if form is None:
            continue
        fields = _resolve(form["schema"], document).get("properties", {})
        lists = {name: dict(_REPEATED) for name, one in fields.items() if _is_list(one)}
        if lists:
            form["encoding"] = lists


def _resolve(schema: Mapping[str, Any], document: Document) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _is_list(field: Mapping[str, Any]) -> bool:
    return any(kind.get("type") == "array" for kind in (field, *field.get("anyOf", ()), *field.get("oneOf", ())))
