"""A route is held to the types and parameters that it documents, without a line of its own."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Form, Query, Response
from pydantic import BaseModel

from shared.http.errors import install_problem_handlers
from shared.http.route_checks import RouteChecks

router = APIRouter()


class Body(BaseModel):
    number: int


@router.post("/json", responses={200: {"content": {"image/png": {}}}, 404: {"content": {"text/html": {}}}})
async def take_json(body: Body, factor: Annotated[int, Query()] = 1) -> int:
    return body.number * factor


@router.post("/form", response_class=Response, responses={200: {"content": {"application/x-onnx": {}}}})
async def take_form(number: Annotated[int, Form()]) -> Response:
    return Response(str(number), media_type="application/x-onnx")


@router.post("/nothing")
async def take_nothing() -> int:
    return 1


@router.get("/json")
async def read() -> int:
    return 2


@router.post("/lenient")
async def take_anything(factor: Annotated[int, Query()] = 1) -> int:
    return factor


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI(dependencies=[Depends(RouteChecks(strict=["/json", "/form", "/nothing"]))])
    install_problem_handlers(app)
    app.include_router(router)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.localhost")


JSON: dict[str, Any] = {"json": {"number": 3}}
FORM: dict[str, Any] = {"data": {"number": "3"}}


@pytest.mark.parametrize(
    ("path", "request_parts", "status"),
    [
        ("/json", JSON, 200),
        ("/json?factor=2", JSON, 200),
        ("/json?factors=2", JSON, 422),
        ("/json", JSON | {"headers": {"Accept": "image/png"}}, 200),
        ("/json", JSON | {"headers": {"Accept": "text/html"}}, 406),
        ("/json", JSON | {"headers": {"Content-Type": "application/problem+json"}}, 200),
        ("/json", {"content": b'{"number": 3}'}, 415),
        ("/json", FORM, 415),
        ("/form", FORM, 200),
        ("/form", {"files": {"number": (None, b"3")}}, 200),
        ("/form", JSON, 415),
        ("/form", FORM | {"headers": {"Accept": "application/json"}}, 406),
        ("/form", FORM | {"headers": {"Accept": "application/*;q=0.5"}}, 200),
        ("/nothing", {}, 200),
        ("/nothing?a", {}, 422),
        ("/json?factor=2&factor=2", JSON, 422),
        ("/form", {"files": [("number", (None, b"3")), ("number", (None, b"4"))]}, 422),
        ("/lenient?surprise=1", {"content": b"x", "headers": {"Content-Type": "a/b", "Accept": "c/d"}}, 200),
        ("/lenient?factor=1&factor=2", {}, 422),
    ],
)
async def test_post(client: httpx.AsyncClient, path: str, request_parts: dict[str, Any], status: int) -> None:
    answer = await client.post(path, **request_parts)
    assert answer.status_code == status, answer.text


async def test_get_is_left_alone(client: httpx.AsyncClient) -> None:
    answer = await client.get("/json?from=somewhere", headers={"Accept": "text/html"})
    assert answer.status_code == 200


async def test_a_problem_says_what_would_be_right(client: httpx.AsyncClient) -> None:
    assert "multipart/form-data" in (await client.post("/form", **JSON)).json()["detail"]
    assert "application/x-onnx" in (await client.post("/form", **FORM, headers={"Accept": "a/b"})).json()["detail"]
    unknown = (await client.post("/json?surprise=1", **JSON)).json()
    assert unknown["errors"][0]["pointer"] == "/query/surprise"
