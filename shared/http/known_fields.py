"""Which fields there are where a request has one that is not known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import TypeAdapter

Schema = Mapping[str, Any]

_LONGEST = 100
"""Letters of a name that are compared: a body may hold one of a million."""


def explain_unknown(annotation: Any, location: Sequence[str | int], *, beside: Collection[str] = ()) -> str:
    """What to tell of a field that a model forbids: that it is not known, which name is near to it, and all names.

    Args:
        annotation: what the request is validated as: a model, or a union of some.
        location: of the field, as Pydantic names it: keys, indices, and tags of the models of a union.
        beside: names of further fields that the request may have.
    """
    schema = _schema_of(annotation)
    names = _names(schema, schema, location[:-1])
    if len(location) == 1:
        names = sorted({*names, *beside})
    near = get_close_matches(str(location[-1])[:_LONGEST], names, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    return f"This field is not known.{guess}" + (f" Known are: {', '.join(names)}." if names else "")


@cache
def _schema_of(annotation: Any) -> Schema:
    return TypeAdapter(annotation).json_schema()


def _names(whole: Schema, node: Schema | None, location: Sequence[str | int]) -> list[str]:
    for key in location:
        node = _step(whole, node, key) if node is not None else None
    return sorted(_properties(whole, node)) if node is not None else []


def _properties(whole: Schema, node: Schema) -> set[str]:
    node = _resolve(whole, node)
    return set(node.get("properties", ())).union(*(_properties(whole, option) for option in _options(node)))


def _step(whole: Schema, node: Schema, key: str | int) -> Schema | None:
    """The schema of a part of what a schema describes; None where that cannot be told."""
    node = _resolve(whole, node)
    if key in node.get("properties", {}):
        found: Schema = node["properties"][key]
        return found
    if key in (mapping := node.get("discriminator", {}).get("mapping", {})):
        return {"$ref": mapping[key]}
    if isinstance(key, int) and isinstance(node.get("items"), dict):
        items: Schema = node["items"]
        return items
    found_in = (_step(whole, option, key) for option in _options(node))
    return next((option for option in found_in if option is not None), None)


def _options(node: Schema) -> Sequence[Schema]:
    """What a union is of, where nothing in the request says which."""
    return [*node.get("anyOf", ()), *node.get("oneOf", ())]


def _resolve(whole: Schema, node: Schema) -> Schema:
    while "$ref" in node:
        node = whole["$defs"][node["$ref"].rpartition("/")[2]]
    return node
