"""The merged document of the real five services: valid, complete, and true of what is served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.declarations import declared_capabilities
from shared.problems import ProblemDetails
from shared.settings import DOMAINS
from tests.contract.documents import METHODS, operations, resolved


def test_chapters_are_in_the_order_in_which_people_want_them(document: dict[str, Any]) -> None:
    wanted = ["low-dose CT", "classification", "explanation", "conformal", "jobs", "models", "inference protocol"]
    listed = [tag["name"] for tag in document["tags"]]
    assert [name for name in listed if name in wanted] == wanted
    assert listed[-1] == "inference protocol"


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
    assert [place for place, schema in found.items() if "items" not in schema] == []


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
    assert [name for name in identifiers if not re.fullmatch(r"[a-z-]+(\.[a-z-]+)+", name)] == []
    assert {"jobs.list", "jobs.get", "jobs.cancel", "ct.reconstructions.create", "protocol.models.infer"} <= set(
        identifiers
    )


def test_every_tag_is_described(document: dict[str, Any]) -> None:
    used = {tag for _, _, operation in operations(document) for tag in operation["tags"]} | {"messages"}
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


def test_examples_of_problems_are_of_the_status_under_which_they_stand(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            example = response.get("content", {}).get("application/problem+json", {}).get("example")
            if status != "default" and example is not None:
                assert str(example["status"]) == status, f"{method} {path}"
                assert ProblemDetails.model_validate(example).title


def test_what_operations_say_alike_is_said_once(document: dict[str, Any]) -> None:
    for item in document["paths"].values():
        for operation in (item[method] for method in METHODS if method in item):
            assert all("$ref" in parameter for parameter in operation["parameters"])
            problems = [answer for status, answer in operation["responses"].items() if status >= "4"]
            assert all("$ref" in answer or "application/problem+json" not in answer["content"] for answer in problems)
    for section in ("parameters", "responses"):
        contents = [json.dumps(content, sort_keys=True) for content in document["components"][section].values()]
        assert len(set(contents)) == len(contents) > 10


def test_a_client_that_is_made_of_it_can_send_a_key_wherever_keys_are_asked_for(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["security"] == [{}, {"key": []}]


def test_retries_have_no_key_that_a_page_would_fill_in(document: dict[str, Any]) -> None:
    [key] = [item for item in document["components"]["parameters"].values() if item["name"] == "Idempotency-Key"]
    assert not {"example", "examples"} & {*key, *key["schema"]}


def test_messages_do_not_share_the_tag_of_the_routes(document: dict[str, Any]) -> None:
    routes = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    assert document["webhooks"]
    assert {tag for item in document["webhooks"].values() for tag in item["post"]["tags"]}.isdisjoint(routes)


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
    named = {tuple(part.partition('"')[0].split("/")) for part in text.split('"#/components/')[1:]}
    assert {(section, name) for section, name in named if name not in document["components"][section]} == set()
    present = set(document["components"]["schemas"])
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
