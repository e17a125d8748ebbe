from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from shared.http.application import VERSION, create_application
from shared.problems import Conflict, ProblemDetails, problem_responses
from shared.settings import Settings

router = APIRouter(prefix="/v1/test", tags=["low-dose CT"])


class Thing(BaseModel):
    size: int
    problem: ProblemDetails | None = None


@router.get("/plain", summary="Plain", responses=problem_responses(Conflict))
async def read_plain(limit: Annotated[int, Query(le=3)] = 1) -> int:
    """Answers a number."""
    return limit


@router.post("/thing", summary="Thing")
async def make_thing(thing: Thing) -> Thing:
    """Answers what it gets, which may hold a problem."""
    return thing


def make(**options: Any) -> FastAPI:
    settings = Settings(_env_file=None, upload_limit_bytes=100)
    options = {"routers": [router], "process": "test"} | options
    return create_application(title="Test", description="A test.", settings=settings, **options)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make()), base_url="http://facet.example") as client:
        yield client


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from item.values()


async def test_every_application_has_health_metrics_and_a_document(client: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    for path in ("/docs", "/redoc"):
        assert (await client.get(path)).status_code == 404


async def test_metrics_are_what_prometheus_reads(client: httpx.AsyncClient) -> None:
    await client.get("/v1/test/plain")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"facet_http_requests", "facet_http_request_seconds", "facet_http_requests_in_flight"} <= families


async def test_operation_ids_read_well(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    identifiers = [operation["operationId"] for operation in operations(document)]
    assert identifiers == ["health.live.get", "health.ready.get", "metrics.get", "test.plain.get", "test.thing.make"]
    assert document["info"]["version"] == VERSION


async def test_validation_is_documented_as_the_problem_that_it_is(client: httpx.AsyncClient) -> None:
    for _ in range(2):  # the document is kept and must stay as it is
        document = (await client.get("/openapi.json")).json()
        schemas = document["components"]["schemas"]
        assert {"ProblemDetails", "FieldError"} <= set(schemas)
        assert not {"HTTPValidationError", "ValidationError"} & set(schemas)
        for path in ("/v1/test/plain", "/v1/test/thing"):
            for operation in document["paths"][path].values():
                assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"]


async def test_a_body_over_the_limit_is_413_with_identity(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/test/thing", content=b"x" * 101, headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.json()["request_id"]) == (413, "mine")


async def test_problems_carry_the_request_id_of_the_answer(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/test/plain?limit=9")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_applications_do_not_share_their_counts() -> None:
    first, second = make(process="one"), make(process="two")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(first), base_url="http://facet.example") as client:
        await client.get("/v1/test/plain")
    assert b"/v1/test/plain" in first.state.metrics.render()
    assert b"/v1/test/plain" not in second.state.metrics.render()


async def test_the_lifespan_is_run() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        steps.append("opened")
        yield
        steps.append("closed")

    app = make(lifespan=lifespan)
    async with app.router.lifespan_context(app):
        assert steps == ["opened"]
    assert steps == ["opened", "closed"]


async def test_an_application_may_leave_its_document_to_another() -> None:
    app = make(own_openapi=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facet.example") as client:
        assert (await client.get("/openapi.json")).status_code == 404
    assert "ProblemDetails" in app.openapi()["components"]["schemas"]
