from __future__ import annotations

import copy
from typing import Any

import pytest

from gateway.documents.merging import merge, operations

OWN: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Facet", "version": "1"},
    "paths": {"/v1/jobs": {"get": {"operationId": "jobs-list", "tags": ["jobs"], "responses": {"200": {}}}}},
    "components": {"schemas": {"ProblemDetails": {"type": "object"}, "Shared": {"type": "string"}}},
}


def service(
    schemas: dict[str, Any], *, used: str = "Thing", domain: str = "medical", **operation: Any
) -> dict[str, Any]:
    reference = {"schema": {"$ref": f"#/components/schemas/{used}"}}
    described = {
        "operationId": "make", "tags": ["making"],
        "responses": {"200": {"description": "made", "content": {"application/json": reference}}},
    } | operation  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": domain, "description": f"What {domain} does."},
        "paths": {
            f"/v1/{domain}/things": {"post": described},
            "/health/live": {"get": {"operationId": "health-live"}},
            "/metrics": {"get": {"operationId": "metrics"}},
            "/v1/models": {"get": {"operationId": "models-list"}},
        },
        "components": {"schemas": schemas},
    }


def merged(**services: Any) -> dict[str, Any]:
    return merge(OWN, services, tags={"jobs": "Long work.", "models": "Unused here."})


def answer_schema(document: dict[str, Any], domain: str = "medical") -> str:
    answer = document["paths"][f"/v1/{domain}/things"]["post"]["responses"]["200"]
    reference: str = answer["content"]["application/json"]["schema"]["$ref"]
    return reference.removeprefix("#/components/schemas/")


def test_only_what_can_be_reached_through_the_gateway_is_listed() -> None:
    document = merged(medical=service({"Thing": {"type": "object"}}))
    assert list(document["paths"]) == ["/v1/jobs", "/v1/medical/things"]


def test_equal_components_are_shared_and_unused_ones_left_out() -> None:
    schemas = {"Thing": {"properties": {"a": {"$ref": "#/components/schemas/Shared"}}}, "Shared": {"type": "string"}}
    document = merged(medical=service({**schemas, "Unused": {}}))
    assert set(document["components"]["schemas"]) == {"ProblemDetails", "Shared", "Thing"}


def test_different_components_of_one_name_are_prefixed() -> None:
    first, second = {"type": "object", "title": "Thing"}, {"type": "array", "title": "Thing"}
    document = merged(
        medical=service({"Thing": first}), perception=service({"Thing": second}, domain="perception", operationId="p")
    )
    schemas = document["components"]["schemas"]
    assert (schemas["Thing"], schemas["PerceptionThing"]) == (first, second | {"title": "PerceptionThing"})
    assert answer_schema(document) == "Thing"
    assert answer_schema(document, "perception") == "PerceptionThing"


def test_what_refers_to_a_prefixed_component_is_prefixed_too() -> None:
    outer = {"properties": {"inner": {"$ref": "#/components/schemas/Inner"}}}
    document = merged(
        medical=service({"Thing": outer, "Inner": {"type": "string"}}),
        security=service({"Thing": outer, "Inner": {"type": "number"}}, domain="security", operationId="s"),
    )
    schemas = document["components"]["schemas"]
    assert answer_schema(document, "security") == "SecurityThing"
    assert schemas["SecurityThing"]["properties"]["inner"]["$ref"] == "#/components/schemas/SecurityInner"
    assert schemas["Thing"]["properties"]["inner"]["$ref"] == "#/components/schemas/Inner"


def test_components_that_refer_to_themselves_are_followed_once() -> None:
    tree = {"properties": {"children": {"items": {"$ref": "#/components/schemas/Thing"}}}}
    document = merged(
        medical=service({"Thing": {"type": "string"}}),
        security=service({"Thing": tree}, domain="security", operationId="s"),
    )
    renamed = document["components"]["schemas"]["SecurityThing"]
    assert renamed["properties"]["children"]["items"]["$ref"] == "#/components/schemas/SecurityThing"


def test_discriminators_follow_a_renaming() -> None:
    choice = {"discriminator": {"propertyName": "kind", "mapping": {"a": "#/components/schemas/Shared"}}}
    document = merged(medical=service({"Thing": choice, "Shared": {"type": "number"}}))
    mapping = document["components"]["schemas"]["Thing"]["discriminator"]["mapping"]
    assert mapping == {"a": "#/components/schemas/MedicalShared"}


def test_a_service_that_is_down_is_named() -> None:
    document = merged(medical=service({"Thing": {}}), security="not reachable")
    assert document["x-unavailable"] == {"security": "not reachable"}
    assert "x-unavailable" not in merged(medical=service({"Thing": {}}))


def test_operation_ids_stay_unique() -> None:
    document = merged(medical=service({"Thing": {}}), security=service({"Thing": {}}, domain="security"))
    assert [operation["operationId"] for operation in operations(document)] == ["jobs-list", "make", "make-2"]


def test_tags_in_use_are_described_in_order() -> None:
    document = merged(medical=service({"Thing": {}}))
    assert document["tags"] == [
        {"name": "making", "description": "What medical does."},
        {"name": "jobs", "description": "Long work."},
    ]


def test_a_services_own_word_on_a_tag_comes_first() -> None:
    described = service({"Thing": {}}) | {"tags": [{"name": "making", "description": "Makes things."}]}
    assert merged(medical=described)["tags"][0]["description"] == "Makes things."


@pytest.mark.parametrize("status", ["502", "503", "504", "default"])
def test_what_the_gateway_answers_itself_is_documented(status: str) -> None:
    document = merged(medical=service({"Thing": {}}))
    response = document["paths"]["/v1/medical/things"]["post"]["responses"][status]
    assert list(response["content"]) == ["application/problem+json"]


def test_a_body_may_be_too_large() -> None:
    document = merged(medical=service({"Thing": {}}, requestBody={"content": {}}))
    assert "413" in document["paths"]["/v1/medical/things"]["post"]["responses"]
    assert "413" not in merged(medical=service({"Thing": {}}))["paths"]["/v1/medical/things"]["post"]["responses"]


def test_an_answer_or_a_job_is_one_of_both() -> None:
    kinds = [{"$ref": "#/components/schemas/Thing"}, {"$ref": "#/components/schemas/Job"}]
    responses = {"200": {"description": "made", "content": {"application/json": {"schema": {"anyOf": kinds}}}}}
    found = merged(medical=service({"Thing": {"type": "object"}, "Job": {"type": "object"}}, responses=responses))
    answer = found["paths"]["/v1/medical/things"]["post"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"] == {"oneOf": kinds}


def test_headers_that_openapi_ignores_are_left_out() -> None:
    accept, prefer = {"in": "header", "name": "accept"}, {"in": "header", "name": "prefer"}
    document = merged(medical=service({"Thing": {}}, parameters=[accept, prefer]))
    names = [item["name"] for item in document["paths"]["/v1/medical/things"]["post"]["parameters"]]
    assert names == ["prefer", "Idempotency-Key"]


def test_the_sources_are_left_as_they_were() -> None:
    source = service({"Thing": {}, "Shared": {"type": "number"}})
    before, own = copy.deepcopy(source), copy.deepcopy(OWN)
    merged(medical=source)
    assert (source, own) == (before, OWN)
