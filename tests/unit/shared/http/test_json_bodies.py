"""JSON bodies that FastAPI parses are small."""

from __future__ import annotations

from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Form
from pydantic import BaseModel

from shared.http.errors import install_problem_handlers
from shared.http.json_bodies import SMALL_JSON_BYTES, JsonRoute
from shared.http.uploads import UploadRoute


class Note(BaseModel):
    text: str


def application(route_class: type[JsonRoute]) -> FastAPI:
    app, router = FastAPI(), APIRouter(route_class=route_class)

    @router.post("/json")
    async def read_json(note: Note) -> int:
        return len(note.text)

    @router.post("/form")
    async def read_form(note: Annotated[Note, Form()]) -> int:
        return len(note.text)

    app.include_router(router)
    install_problem_handlers(app)
    return app


class LargerRoute(JsonRoute):
    most_bytes = 2 * SMALL_JSON_BYTES


@pytest.mark.parametrize(
    ("route_class", "most"),
    [(JsonRoute, SMALL_JSON_BYTES), (UploadRoute, SMALL_JSON_BYTES), (LargerRoute, 2 * SMALL_JSON_BYTES)],
)
async def test_a_body_may_have_as_many_bytes_as_its_route_says(route_class: type[JsonRoute], most: int) -> None:
    around = len(b'{"text":""}')
    transport = httpx.ASGITransport(application(route_class))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        for size, status in ((most - around, 200), (most - around + 1, 413)):
            answer = await client.post("/json", json={"text": "a" * size})
            assert answer.status_code == status, answer.text
            assert status == 413 or answer.json() == size
        assert (await client.post("/form", data={"text": "a" * most})).json() == most
