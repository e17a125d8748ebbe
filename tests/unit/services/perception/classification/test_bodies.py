"""A picture as the body itself: the same answers, limits and problems as in a form, with pointers of its own."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from services.perception.classification.schemas import ClassificationAnswer
from tests.unit.services.perception.classification.conftest import plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTE = "/v1/perception/classifications"
SIGN = plain(250, 30, 20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
FORM = {"Content-Type": "multipart/form-data; boundary=XX"}
TOP = b'--XX\r\nContent-Disposition: form-data; name="top"\r\n\r\n1\r\n'
FILE = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + SIGN + b"\r\n"


@composite
def options(draw: DrawFn) -> list[tuple[str, str]]:
    """Options as callers send them, right and wrong, some of them twice."""
    value = st.one_of(st.integers(-3, 60).map(str), st.sampled_from(["", "many", "5.0", " 3", "traffic-signs", "none"]))
    return draw(st.lists(st.tuples(st.sampled_from(["top", "model", "nonsense"]), value), max_size=3))


def as_in_form(problem: dict[str, object]) -> list[tuple[str, str]]:
    """What is wrong, as a form is told of it, which may have the file as well."""
    errors = problem["errors"]
    assert isinstance(errors, list)
    pointers = [error["pointer"].replace("/query/", "/body/", 1) for error in errors]
    details = [error["detail"].replace("Known are: model", "Known are: file, model") for error in errors]
    return [*zip(pointers, details, strict=True)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options())
async def test_both_ways_are_answered_alike(client: httpx.AsyncClient, chosen: list[tuple[str, str]]) -> None:
    query: list[tuple[str, str | int | float | bool | None]] = [*chosen]
    bare = await client.post(ROUTE, content=SIGN, headers={"Content-Type": "image/png"}, params=query)
    parts = [(name, (None, value)) for name, value in chosen]
    form = await client.post(ROUTE, files=[("file", ("a.png", SIGN)), *parts])
    assert bare.status_code == form.status_code, (chosen, bare.text, form.text)
    if bare.status_code == 200:
        assert bare.content == form.content
        ClassificationAnswer.model_validate_json(bare.content, strict=True)
    else:
        assert as_in_form(bare.json()) == as_in_form(form.json())
        assert bare.json()["type"] == form.json()["type"]


@pytest.mark.parametrize("stated", ["image/png", "IMAGE/PNG; x=y", "application/octet-stream", None])
async def test_the_content_is_what_it_is(client: httpx.AsyncClient, stated: str | None) -> None:
    answer = await client.post(ROUTE, content=SIGN, headers={"Content-Type": stated} if stated else {})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("stated", "body", "status", "words"),
    [
        ("image/jpeg", SIGN, 415, ("image/jpeg", "PNG")),
        ("image/png", JPEG, 415, ("image/png", "JPEG")),
        ("application/octet-stream", b"%PDF-1.7", 415, ("PDF",)),
        ("application/json", b"{}", 415, ("image/png", "multipart/form-data")),
        ("image/png", b"", 422, ("empty",)),
        ("image/png", SIGN[:60], 422, ("cut off",)),
        ("image/png", plain(1, 2, 3, height=300, width=300), 413, ("pixels",)),
    ],
)
async def test_wrong_bodies(
    client: httpx.AsyncClient, stated: str, body: bytes, status: int, words: tuple[str, ...]
) -> None:
    answer = await client.post(ROUTE, content=body, headers={"Content-Type": stated})
    assert answer.status_code == status, answer.text
    assert all(word in answer.json()["detail"] for word in words)
    assert {error["pointer"] for error in answer.json()["errors"]} <= {"/body"}


async def test_a_form_with_a_query_is_told_where_options_belong(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, files={"file": SIGN}, params={"top": "1"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/top")


@pytest.mark.parametrize(
    "body",
    [FILE + TOP, FILE + TOP + b"--XX", FILE + TOP + b"--XX-", FILE + TOP[:-9], FILE[:-30], FILE],
    ids=["no close", "delimiter", "half close", "in a field", "in the file", "after the file"],
)
async def test_a_form_that_was_cut_off_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(ROUTE, content=body, headers=FORM)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("before", [b"", b"\r\n", b"A preamble, which is to be ignored.\r\n"])
@pytest.mark.parametrize("behind", [b"", b"\r\n", b"\r\nAn epilogue\r\n", b"  \r\n"])
async def test_what_stands_around_a_whole_form_is_ignored(
    client: httpx.AsyncClient, before: bytes, behind: bytes
) -> None:
    answer = await client.post(ROUTE, content=before + FILE + TOP + b"--XX--" + behind, headers=FORM)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["classifications"][0]["top"]) == 1


@pytest.mark.parametrize(
    "name",
    [b"filename*=UTF-8''M%C3%BCller.png", b"FileName*=utf-8'de'a%22%5Cb", b"filename*=UTF-8''", b"filename*=\xff'%"],
)
async def test_a_part_that_names_its_file_in_the_long_way_alone_is_a_file(
    client: httpx.AsyncClient, name: bytes
) -> None:
    body = FILE.replace(b'filename="a"', name) + TOP + b"--XX--"
    assert name in body
    answer = await client.post(ROUTE, content=body, headers=FORM)
    assert answer.status_code == 200, answer.text


async def test_what_is_called_like_it_is_none(client: httpx.AsyncClient) -> None:
    body = FILE + TOP.replace(b'name="top"', b'name="top; filename*=b"') + b"--XX--"
    answer = await client.post(ROUTE, content=body, headers=FORM)
    assert answer.status_code == 422
    assert "filename*" in answer.text


async def test_lines_of_accept_are_one_list(client: httpx.AsyncClient) -> None:
    headers = [("Accept", "text/plain"), ("Accept", "application/x-npy"), ("Content-Type", "image/png")]
    answer = await client.post(ROUTE, content=SIGN, headers=headers)
    assert answer.headers["Content-Type"] == "application/x-npy"


async def test_both_ways_are_documented(client: httpx.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"][ROUTE]["post"]
    assert {"multipart/form-data", "image/png", "image/jpeg", "image/webp", "application/octet-stream"} == set(
        operation["requestBody"]["content"]
    )
    parameters = {one["name"]: one for one in operation["parameters"] if one["in"] == "query"}
    assert set(parameters) == {"model", "top"}
    assert parameters["top"]["schema"]["maximum"] == 1000
