"""`?format=` in the place of the Accept header."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from gateway.edge.formats import MEDIA_TYPES, accept_format, describe_formats
from shared.problems import UnprocessableContent
from tests.unit.gateway.edge.channels import scope_of

PATH = "/v1/uncertainty/explanations"


def asked(query: str, *, path: str = PATH, accept: str = "text/html") -> Scope:
    scope = scope_of(("Accept", accept), ("Host", "facet"), ("Accept", "text/plain"), path=path)
    scope["query_string"] = query.encode()
    accept_format(scope)
    return scope


def accepted(scope: Scope) -> list[str]:
    return [value.decode() for name, value in scope["headers"] if name == b"accept"]


@pytest.mark.parametrize(("name", "media_type"), MEDIA_TYPES.items())
def test_the_format_is_all_that_is_accepted_and_the_service_does_not_see_it(name: str, media_type: str) -> None:
    scope = asked(f"model=a%26b&format={name}&format-of-old=1")
    assert accepted(scope) == [media_type]
    assert scope["query_string"] == b"model=a%26b&format-of-old=1"
    assert (b"host", b"facet") in scope["headers"]
    assert asked(f"format={name.upper()}")["query_string"] == b""


@pytest.mark.parametrize("query", ["", "model=png", "formats=png", "xformat=png", "a=format%3Dpng", "a=b=format=png"])
def test_everything_else_stays_as_it_is(query: str) -> None:
    scope = asked(query)
    assert (accepted(scope), scope["query_string"]) == (["text/html", "text/plain"], query.encode())


@pytest.mark.parametrize("path", ["/v1/jobs/1/files/a", "/v1/models", "/v2/models/x", "/v1/medicalx/things"])
def test_only_services_have_formats(path: str) -> None:
    assert asked("format=nothing", path=path)["query_string"] == b"format=nothing"


@pytest.mark.parametrize("query", ["format=", "format=gif", "format=png&format=png", "format=%70ng", "format=\u00e9"])
def test_what_cannot_be_meant_is_refused_by_name(query: str) -> None:
    with pytest.raises(UnprocessableContent) as refused:
        asked(query)
    assert [error.pointer for error in refused.value.errors] == ["/query/format"]


@given(st.binary(max_size=60))
def test_any_query_is_taken_or_refused(query: bytes) -> None:
    scope = scope_of(path=PATH)
    scope["query_string"] = b"format=" + query
    try:
        accept_format(scope)
    except UnprocessableContent:
        return
    assert accepted(scope)[0] in MEDIA_TYPES.values()


def test_routes_that_answer_in_several_formats_say_so() -> None:
    several: dict[str, Any] = {"application/json": {}, "image/png": {}, "a/b": {}}
    operation: dict[str, Any] = {"responses": {"200": {"content": several}}}
    describe_formats(operation)
    assert operation["parameters"][0]["schema"]["enum"] == ["json", "png"]
    fewer: list[dict[str, Any]] = [{}, {"application/json": {}}, {"application/json": {}, "a/b": {}}]
    for content in fewer:
        single: dict[str, Any] = {"responses": {"200": {"content": content}, "404": {"content": {"image/png": {}}}}}
        describe_formats(single)
        assert "parameters" not in single
