"""Over all routes of all services and of the gateway: what takes one value is not given several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.documents import Document, operations, resolved


def takes_several(schema: dict[str, Any]) -> bool:
    """Whether one of the kinds that a value may have is a list."""
    kinds = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return any(kind.get("type") == "array" for kind in kinds)


def queries(document: Document) -> Iterator[tuple[str, str, str]]:
    for path, method, operation in operations(document):
        for parameter in operation["parameters"]:
            if parameter["in"] == "query" and not takes_several(resolved(document, parameter["schema"])):
                yield path, method, parameter["name"]


def fields(document: Document) -> Iterator[tuple[str, str, str, bool]]:
    for path, method, operation in operations(document):
        form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        for name, schema in resolved(document, form["schema"])["properties"].items() if form else ():
            found = resolved(document, schema)
            if not takes_several(found):
                yield path, method, name, "binary" in str(found)


def require_refusal(answer: httpx.Response, pointer: str, place: str) -> None:
    assert answer.status_code == 422, (place, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    named = [error["pointer"] for error in answer.json()["errors"]]
    assert any(one == pointer or one.startswith(pointer + "/") for one in named), (place, pointer, answer.text)


async def test_a_repeated_parameter_of_a_query_is_refused(client: httpx.AsyncClient, document: Document) -> None:
    found = list(queries(document))
    assert len(found) > 20
    for path, method, name in found:
        answer = await client.request(method, path.replace("{", "").replace("}", ""), params=[(name, "1"), (name, "2")])
        require_refusal(answer, f"/query/{name}", f"{method} {path}")


@pytest.mark.usefixtures("started")
async def test_a_repeated_field_of_a_form_is_refused(client: httpx.AsyncClient, document: Document) -> None:
    found = list(fields(document))
    assert len(found) > 20
    for path, method, name, is_file in found:
        content: Any = ("a", b"1") if is_file else (None, b"1")
        answer = await client.request(method, path.replace("{", "").replace("}", ""), files=[(name, content)] * 2)
        require_refusal(answer, f"/body/{name}", f"{method} {path}")


@pytest.mark.parametrize("query", ["limit=1&cursor=", "unknown=1&unknown=2"])
async def test_what_is_given_once_is_no_repetition(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/models?{query}")
    assert answer.status_code == 200, answer.text
