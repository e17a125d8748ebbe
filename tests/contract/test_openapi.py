"""The merged document of the real five services: valid, complete, and true of what is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.declarations import declared_capabilities
from shared.settings import DOMAINS
from tests.contract.documents import operations, resolved


def test_chapters_of_capabilities_come_first_as_declared(document: dict[str, Any]) -> None:
    listed = {tag["name"]: tag["description"] for tag in document["tags"]}
    declared = declared_capabilities().tags
    assert dict(list(listed.items())[: len(declared)]) == declared
    assert "jobs" in listed


def test_it_is_a_valid_document(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def arrays(content: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(content, dict):
        if content.get("type") == "array":
            yield place, content
        for name, inner in content.items():
            yield from arrays(inner, f"{place}/{name}")
    elif isinstance(content, list):
        for index, inner in enumerate(content):
            yield from arrays(inner, f"{place}/{index}")


def test_every_array_says_what_is_in_it_as_generators_of_clients_ask(document: dict[str, Any]) -> None:
    found = dict(arrays(document))
    assert found
    assert [place for place, schema in found.items() if "items" not in schema and "prefixItems" not in schema] == []


def test_it_says_what_it_is(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "Facet"
    assert document["info"]["license"] == {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
    assert document["servers"] == [{"url": "/", "description": "This gateway"}]


def test_every_route_says_what_it_does(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for needed in ("summary", "description", "operationId", "tags"):
            assert operation.get(needed), f"{method} {path} has no {needed}"


def test_operation_ids_are_unique_and_of_one_form(document: dict[str, Any]) -> None:
    identifiers = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(identifiers)) == len(identifiers)
    assert [name for name in identifiers if not name.replace("-", "").isalnum() or name != name.lower()] == []


def test_every_tag_is_described(document: dict[str, Any]) -> None:
    used = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert set(described) == used
    assert all(described.values())


def test_every_error_is_a_documented_problem(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        responses = operation["responses"]
        assert "default" in responses, f"{method} {path}"
        for status, response in responses.items():
            if status == "default" or (status >= "400" and not path.startswith("/health/")):
                assert list(response["content"]) == ["application/problem+json"], f"{method} {path} {status}"
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemDetails"}
            assert response["description"], f"{method} {path} {status}"


def test_routes_of_the_services_document_the_hop(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if path.startswith(tuple(f"/v1/{domain}/" for domain in DOMAINS)):
            assert {"502", "503", "504"} <= set(operation["responses"]), f"{method} {path}"


def test_every_parameter_is_described(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for parameter in operation["parameters"]:
            assert parameter.get("description"), f"{method} {path} {parameter['name']}"


def fields(content: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of every schema, wherever it stands: of components, of bodies and of answers."""
    if isinstance(content, dict):
        properties = content.get("properties")
        if isinstance(properties, dict) and content.get("type", "object") == "object":
            yield from ((f"{place}/{name}", one) for name, one in properties.items())
        for name, inner in content.items():
            yield from fields(inner, f"{place}/{name}")
    elif isinstance(content, list):
        for index, inner in enumerate(content):
            yield from fields(inner, f"{place}/{index}")


def is_described(document: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether a field is described, or is a thing of a kind whose schema is."""
    return bool(schema.get("description")) or (
        set(schema) - {"default"} == {"$ref"} and "description" in resolved(document, schema)
    )


def test_every_field_is_described(document: dict[str, Any]) -> None:
    found = list(fields({"paths": document["paths"], "schemas": document["components"]["schemas"]}))
    assert len(found) > 900
    missing = sorted({place for place, schema in found if not is_described(document, schema)})
    assert missing == [], "\n".join(missing)


def test_references_lead_somewhere_and_nothing_is_left_over(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    named = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    present = set(document["components"]["schemas"])
    assert named - present == set()
    assert not {"HTTPValidationError", "ValidationError"} & present


async def test_what_the_services_keep_to_themselves_is_not_reachable(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    for path in ("/v1/medical/health/ready", "/v1/medical/metrics", "/v1/medical/openapi.json"):
        assert path not in document["paths"]
        assert (await client.get(path)).status_code == 404


@pytest.mark.usefixtures("started")
async def test_documented_routes_exist(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if "{" in path or method != "get":
            continue
        answer = await client.request(method, path)
        assert str(answer.status_code) in operation["responses"], f"{method} {path} {answer.status_code}"


async def test_every_route_refuses_a_wrong_method_with_allow(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    for path, item in document["paths"].items():
        if path.startswith("/v2/models/{name}"):
            continue  # whose service is asked is known by the model: the name of none is 404
        wrong = "PUT" if "patch" in item else "PATCH"
        answer = await client.request(wrong, path.replace("{", "").replace("}", ""))
        assert answer.status_code == 405, path
        assert answer.headers["allow"]
        assert answer.headers["content-type"] == "application/problem+json"
