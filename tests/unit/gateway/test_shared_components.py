"""What operations say alike is said once; the document means the same as before."""

from __future__ import annotations

import copy
from typing import Any

from gateway.documents.forms import describe_lists
from gateway.documents.merging import merge, operations
from gateway.documents.sharing import share_components
from shared.problems import Conflict, NotFound, problem_responses

LIMIT = {"name": "limit", "in": "query", "schema": {"type": "integer"}}


def document() -> dict[str, Any]:
    answers: dict[str, Any] = {str(status): answer for status, answer in problem_responses(NotFound, Conflict).items()}
    answers["200"] = {"description": "found", "content": {"application/json": {}}}
    first: dict[str, Any] = {"operationId": "a.list", "tags": ["a"], "parameters": [LIMIT], "responses": answers}
    second = copy.deepcopy(first) | {"operationId": "b.list"}
    second["responses"]["404"]["description"] = "Not here either"
    second["parameters"].append(LIMIT | {"schema": {"type": "integer", "maximum": 9}})
    return {"openapi": "3.1.0", "info": {}, "paths": {"/v1/a": {"get": first}, "/v1/b": {"get": second}}}


def in_full(content: Any, components: dict[str, Any]) -> Any:
    if isinstance(content, dict) and content.get("$ref", "").startswith(("#/components/p", "#/components/r")):
        _, _, section, name = content["$ref"].split("/")
        return components[section][name]
    if isinstance(content, dict):
        return {key: in_full(value, components) for key, value in content.items()}
    return [in_full(value, components) for value in content] if isinstance(content, list) else content


def test_every_different_thing_is_there_once_under_a_name_that_says_what_it_is() -> None:
    shared = document()
    share_components(shared)
    assert list(shared["components"]["parameters"]) == ["LimitQuery", "LimitQuery-2"]
    assert sorted(shared["components"]["responses"]) == ["Conflict", "NotFound", "NotFound-2"]
    assert in_full(shared["paths"], shared["components"]) == document()["paths"]


def test_answers_of_success_stay_where_they_are() -> None:
    shared = document()
    share_components(shared)
    for operation in operations(shared):
        assert operation["responses"]["200"] == document()["paths"]["/v1/a"]["get"]["responses"]["200"]


def test_arrays_of_a_fixed_length_say_what_their_items_are() -> None:
    number, text = {"type": "number"}, {"type": "string"}
    alike = {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [number, number]}
    mixed = {"type": "array", "minItems": 3, "maxItems": 3, "prefixItems": [number, text, number]}
    own = document() | {"components": {"schemas": {"Alike": alike, "Mixed": mixed}}}
    schemas = merge(own, {}, tags={})["components"]["schemas"]
    assert schemas["Alike"] == {"type": "array", "minItems": 2, "maxItems": 2, "items": number}
    assert schemas["Mixed"] == mixed | {"items": {"anyOf": [number, text]}}


def with_body(*kinds: dict[str, Any]) -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": {"oneOf": list(kinds)}}}}
    return {"openapi": "3.1.0", "info": {}, "paths": {"/v1/a": {"post": {"requestBody": body, "responses": {}}}}}


def kind(title: str, constant: str) -> dict[str, Any]:
    properties = {"kind": {"type": "string", "const": constant}, "size": {"type": "integer"}}
    return {"title": title, "type": "object", "properties": properties}


def test_kinds_of_a_body_have_names_and_a_field_that_tells_them_apart() -> None:
    shared = with_body(kind("Cat", "cat"), kind("Dog", "dog"))
    share_components(shared)
    assert shared["paths"]["/v1/a"]["post"]["requestBody"]["content"]["application/json"]["schema"] == {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {"cat": "#/components/schemas/Cat", "dog": "#/components/schemas/Dog"},
        },
    }
    assert shared["components"]["schemas"] == {"Cat": kind("Cat", "cat"), "Dog": kind("Dog", "dog")}


def test_kinds_that_nothing_tells_apart_stay_as_they_are() -> None:
    nameless = {key: value for key, value in kind("Dog", "dog").items() if key != "title"}
    for other in (nameless, {"title": "Dog", "type": "object", "properties": {"size": {"type": "integer"}}}):
        shared = with_body(kind("Cat", "cat"), other)
        share_components(shared)
        assert "discriminator" not in str(shared)
    taken = with_body(kind("Cat", "cat"), kind("Dog", "dog")) | {"components": {"schemas": {"Dog": {"type": "string"}}}}
    share_components(taken)
    assert taken["components"]["schemas"] == {"Dog": {"type": "string"}}


def test_fields_that_are_lists_are_to_be_repeated() -> None:
    properties = {
        "method": {"type": "array", "items": {"type": "string"}},
        "layer": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
        "target": {"type": "integer"},
    }
    named = with_body() | {"components": {"schemas": {"Form": {"type": "object", "properties": properties}}}}
    content = named["paths"]["/v1/a"]["post"]["requestBody"]["content"]
    content["multipart/form-data"] = {"schema": {"$ref": "#/components/schemas/Form"}}
    describe_lists(named)
    repeated = {"style": "form", "explode": True}
    assert content["multipart/form-data"]["encoding"] == {"method": repeated, "layer": repeated}
    assert "encoding" not in content["application/json"]
