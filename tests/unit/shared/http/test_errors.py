from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Form, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.http.errors import findings, install_problem_handlers, json_pointer, problem_response, validation_problem
from shared.problems import BY_STATUS, BadRequest, Conflict, Problem, ServiceUnavailable, field_problem
from shared.request_context import bound, new_context

Client = httpx.AsyncClient


class Slice(BaseModel):
    window: str
    size: int = Field(gt=0)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = FastAPI()
    install_problem_handlers(app)

    @app.post("/json")
    async def takes_json(posted: Slice) -> Slice:
        return posted

    @app.post("/form")
    async def takes_form(size: Annotated[int, Form()]) -> int:
        return size

    @app.get("/query")
    async def takes_query(limit: Annotated[int, Query(le=5)] = 1) -> int:
        return limit

    @app.get("/problem")
    async def raises_problem() -> None:
        raise field_problem("/body/a~1b", "It is wrong.")

    @app.get("/busy")
    async def raises_busy() -> None:
        raise ServiceUnavailable("Busy.", retry_after_s=7)

    @app.get("/http/{status}")
    async def raises_http(status: int) -> None:
        raise HTTPException(status, "In words.", headers={"X-Told": "yes"})

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.example") as client:
        yield client


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"].startswith("/problems/")
    assert problem["title"]
    assert problem["instance"] == answer.request.url.path
    return problem


async def test_a_problem_is_answered_as_it_is(client: Client) -> None:
    problem = problem_of(await client.get("/problem"))
    assert (problem["status"], problem["detail"]) == (422, "It is wrong.")
    assert problem["errors"] == [{"pointer": "/body/a~1b", "detail": "It is wrong."}]


async def test_headers_of_a_problem_are_answered(client: Client) -> None:
    answer = await client.get("/busy")
    assert (problem_of(answer)["status"], answer.headers["retry-after"]) == (503, "7")


async def test_a_body_that_does_not_fit_names_the_fields(client: Client) -> None:
    problem = problem_of(await client.post("/json", json={"size": -1}))
    assert problem["status"] == 422
    assert {error["pointer"] for error in problem["errors"]} == {"/body/window", "/body/size"}
    assert "window" in problem["detail"]


async def test_a_body_that_is_no_json_is_400(client: Client) -> None:
    for content in (b"{", b"{'a': 1}", b"\xff"):
        answer = await client.post("/json", content=content, headers={"Content-Type": "application/json"})
        assert problem_of(answer)["status"] == 400


@pytest.mark.parametrize(
    "given", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"]
)
async def test_json_of_another_type_is_415_with_the_type_that_is_read(client: Client, given: str | None) -> None:
    headers = {"Content-Type": given} if given else {}
    answer = await client.post("/json", content=b'{"window": "lung", "size": 1}', headers=headers)
    problem = problem_of(answer)
    assert (problem["status"], answer.headers["accept"]) == (415, "application/json")
    assert "Content-Type: application/json" in problem["detail"]
    assert (given or "no Content-Type").partition(";")[0] in problem["detail"]


async def test_types_of_the_json_family_are_json(client: Client) -> None:
    for kind in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.facet+json"):
        answer = await client.post("/json", content=b'{"window": "lung", "size": 1}', headers={"Content-Type": kind})
        assert answer.status_code == 200, kind


async def test_an_empty_body_of_no_type_lacks_its_fields(client: Client) -> None:
    assert problem_of(await client.post("/json", content=b""))["status"] == 422


async def test_a_missing_body_is_422(client: Client) -> None:
    assert problem_of(await client.post("/json"))["status"] == 422
    assert problem_of(await client.post("/form"))["errors"][0]["pointer"] == "/body/size"


async def test_a_parameter_that_does_not_fit_is_422(client: Client) -> None:
    problem = problem_of(await client.get("/query?limit=6"))
    assert problem["errors"][0]["pointer"] == "/query/limit"


async def test_what_was_posted_is_not_told_back(client: Client) -> None:
    answer = await client.post("/json", json={"window": {"patient": "Jane Doe"}, "size": "Jane Doe"})
    assert "Jane" not in answer.text


async def test_an_address_that_is_no_utf_8_is_no_server_error() -> None:
    app, sent = FastAPI(), []
    install_problem_handlers(app)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/nowhere", "raw_path": b"/nowhere", "query_string": b"q=\xe9",
        "headers": [], "scheme": "http", "client": None, "server": ("facet.example", 80), "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 404


async def test_unknown_addresses_and_methods_are_problems(client: Client) -> None:
    missing = problem_of(await client.get("/{nowhere}"))
    assert (missing["status"], "/docs" in missing["detail"]) == (404, True)
    wrong = await client.delete("/problem")
    assert (problem_of(wrong)["status"], wrong.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("status", sorted(BY_STATUS))
async def test_every_known_status_has_its_problem(client: Client, status: int) -> None:
    answer = await client.get(f"/http/{status}")
    assert problem_of(answer)["type"] == f"/problems/{BY_STATUS[status].slug}"
    assert answer.headers["x-told"] == "yes"


def test_the_request_id_is_named_where_there_is_one() -> None:
    problem = Conflict("It is finished.")
    assert b"request_id" not in problem_response(problem, path="/x").body
    with bound(new_context(request_id="mine")):
        assert b'"request_id":"mine"' in problem_response(problem, path="/x").body


@pytest.mark.parametrize(
    ("location", "pointer"),
    [((), ""), (("body", "files", 0), "/body/files/0"), (("body", "a/b~c"), "/body/a~1b~0c"), (("body", ""), "/body/")],
)
def test_pointers_are_those_of_rfc_6901(location: tuple[str | int, ...], pointer: str) -> None:
    assert json_pointer(location) == pointer


def test_many_faults_are_all_listed_and_three_are_named() -> None:
    errors = [{"loc": ("body", f"field{number}"), "msg": f"fault {number}", "type": "missing"} for number in range(9)]
    problem = validation_problem(errors, Slice)
    assert len(problem.errors) == 9
    assert "fault 2" in problem.detail
    assert "fault 3" not in problem.detail
    assert isinstance(validation_problem([{"loc": ("body", 1), "msg": "m", "type": "json_invalid"}], Slice), BadRequest)


def test_a_sentence_says_once_what_is_wrong_with_several_fields() -> None:
    errors = [{"loc": ("body", name), "msg": "-", "type": "extra_forbidden"} for name in ("a", "b")]
    detail = validation_problem(errors, Slice).detail
    assert detail.endswith("route. a, b: This field is not known. Known are: size, window.")


@pytest.mark.parametrize(("count", "listed"), [(100, 100), (101, 100), (1000, 100), (1001, 1)])
def test_a_hundred_faults_are_listed_and_a_thousand_looked_at(count: int, listed: int) -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    with pytest.raises(ValidationError) as caught:
        Strict.model_validate({f"k{number}": 1 for number in range(count)})
    with pytest.raises(Problem) as refused:
        raise validation_problem(findings(caught.value, "body"), Strict)
    assert len(refused.value.errors) == listed
    assert (f"{count} faults" if listed == 1 else f"and {count - 3} more") in refused.value.detail


def test_every_kind_of_problem_can_be_told_by_its_status() -> None:
    def kinds(kind: type[Problem]) -> set[type[Problem]]:
        return {kind}.union(*(kinds(below) for below in kind.__subclasses__() if below.__module__ == kind.__module__))

    assert {kind.status for kind in kinds(Problem)} == set(BY_STATUS)
    assert all(kind.status == status for status, kind in BY_STATUS.items())


async def test_allow_names_every_method_of_a_path() -> None:
    app = FastAPI()
    install_problem_handlers(app)
    router = APIRouter(prefix="/things/{thing}")
    for method in ("GET", "DELETE", "PATCH"):
        router.add_api_route("", lambda thing: thing, methods=[method], operation_id=method)
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.test") as client:
        answer = await client.post("/things/1")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD, PATCH, DELETE"
