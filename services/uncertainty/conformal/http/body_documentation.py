"""What OpenAPI says of bodies that are options with arrays beside them, as a form and as JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

_TEXTS: Final = frozenset({"class_names", "groups", "labels", "test_groups", "training_labels"})


def describe_request_body(
    model: type[BaseModel],
    arrays: Mapping[str, str],
    *,
    needed: Collection[str] = (),
    other: type[BaseModel] | None = None,
    repeated: Collection[str] = (),
    example: Mapping[str, Any],
) -> dict[str, Any]:
    """`openapi_extra` of a route: the options with the arrays beside them, as form and as JSON.

    Args:
        model: of the options.
        arrays: descriptions by name.
        needed: names of arrays that cannot be left out.
        other: the options of another kind of request to the same route.
        repeated: names of files that a form may have several of; JSON has none.
        example: a body in JSON that the route takes.
    """
    kinds = [inline_references(one.model_json_schema()) for one in (model, other) if one is not None]
    options = _merge_schemas(kinds)
    numbers = {
        "type": "array",
        "items": {"oneOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]},
    }
    labels = {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}
    listed = {
        name: {**(labels if name in _TEXTS else numbers), "description": text}
        for name, text in arrays.items()
        if name not in repeated
    }
    file = {"type": "string", "format": "binary"}
    filed: dict[str, dict[str, Any]] = {
        name: {**file, "description": f"{text}; NPY, CSV or Parquet"} for name, text in arrays.items()
    }
    filed |= {name: {"type": "array", "items": file, "description": arrays[name]} for name in repeated}
    form = _body(options, filed, needed)
    # A form of several kinds is one list of fields; JSON is one of several objects.
    objects = [{"title": one["title"], **_body(one, listed, needed)} for one in kinds]
    contents: dict[str, dict[str, Any]] = {
        "multipart/form-data": {"schema": form},
        "application/json": {
            "schema": _body(options, listed, needed) if len(objects) == 1 else {"oneOf": objects},
            "example": dict(example),
        },
    }
    return {"requestBody": {"required": True, "content": contents}}


def _body(options: Mapping[str, Any], beside: Mapping[str, Any], needed: Collection[str]) -> dict[str, Any]:
    required = [*options.get("required", []), *needed]
    return {
        "type": "object",
        "properties": {**options.get("properties", {}), **beside},
        **({"required": required} if required else {}),
    }


def _merge_schemas(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One schema for the options of two kinds: what differs may be either."""
    properties: dict[str, Any] = {}
    for schema in schemas:
        for name, one in schema.get("properties", {}).items():
            known = properties.get(name)
            properties[name] = one if known in (None, one) else _either(known, one)
    required = set.intersection(*(set(schema.get("required", ())) for schema in schemas))
    return {"properties": properties, "required": sorted(required)}


def _either(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The schema of an option that two kinds of request have, each in its own way."""
    texts = dict.fromkeys(kind["description"] for kind in (one, other) if "description" in kind)
    described = {"description": "; or: ".join(texts)}
    if "const" in one and "const" in other:
        return {**described, "type": "string", "enum": [one["const"], other["const"]]}
    return {**described, "anyOf": [one, other]}


def inline_references(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace each `$ref` of a JSON schema by the definition that it names."""
    definitions = schema.get("$defs", {})

    def walk(part: Any) -> Any:
        if isinstance(part, list):
            return [walk(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            return {**walk(definitions[name]), **{key: value for key, value in part.items() if key != "$ref"}}
        return {key: walk(value) for key, value in part.items() if key != "$defs"}

    resolved: dict[str, Any] = walk(schema)
    return resolved
