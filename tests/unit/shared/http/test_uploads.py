"""Bodies within limits, over ASGI and over real sockets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, File, Form, UploadFile
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from shared.http.errors import install_problem_handlers
from shared.http.uploads import BodyLimit, FormLimits, UploadRoute, read_form, read_upload, receive_upload
from shared.imaging.signatures import MediaType
from shared.problems import BadRequest, ContentTooLarge, UnprocessableContent, UnsupportedMediaType
from shared.storage.blobs import digest_of

LIMIT = 1000
PNG = b"\x89PNG\r\n\x1a\n and more"


def upload(data: bytes, name: str = "Muster_Erika.png") -> UploadFile:
    return UploadFile(io.BytesIO(data), filename=name, headers=Headers({"content-type": "image/png"}))


def application() -> FastAPI:
    app = FastAPI()
    router = APIRouter(route_class=UploadRoute)

    @router.post("/files")
    async def files(file: Annotated[list[UploadFile], File()], note: Annotated[str, Form()] = "") -> dict[str, Any]:
        return {"sizes": [len(await read_upload(each, limit=500)) for each in file], "note": note}

    @router.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @router.post("/json")
    async def body(value: dict[str, int]) -> dict[str, int]:
        return value

    @router.post("/fields")
    async def fields(request: Request) -> list[str]:
        return list(await read_form(request))

    app.include_router(router)
    install_problem_handlers(app)
    app.add_middleware(BodyLimit, limit=LIMIT)
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application())
    async with httpx.AsyncClient(transport=transport, base_url="http://facet") as http:
        yield http


async def chunks(count: int, size: int = 100, *, start: bytes = b"") -> AsyncIterator[bytes]:
    yield start
    for _ in range(count):
        yield b"x" * size


def require_problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    return str(body["detail"])


async def test_bodies_at_the_limit_pass(client: httpx.AsyncClient) -> None:
    assert (await client.post("/raw", content=b"x" * LIMIT)).json() == {"size": LIMIT}
    assert (await client.post("/raw", content=chunks(10))).json() == {"size": LIMIT}


@pytest.mark.parametrize(
    ("path", "content_type", "start"),
    [
        ("/raw", "application/octet-stream", b""),
        ("/json", "application/json", b'{"a": 1}'),
        ("/files", "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n'),
    ],
)
async def test_bodies_over_the_limit_are_refused(
    client: httpx.AsyncClient, path: str, content_type: str, start: bytes
) -> None:
    for content in (start + b"x" * (LIMIT + 1), chunks(11, start=start)):
        response = await client.post(path, content=content, headers={"content-type": content_type})
        assert "larger than 1000 bytes" in require_problem(response, 413)
        assert response.headers["connection"] == "close"


class UpstreamTransport:
    """An ASGI server's side of one request, with the order of what happened."""

    def __init__(self, *bodies: bytes, length: int | None = None) -> None:
        self.scope: Scope = {
            "type": "http", "method": "POST", "path": "/raw", "query_string": b"",
            "headers": [] if length is None else [(b"content-length", str(length).encode())],
        }  # fmt: skip
        self.messages: list[Message] = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
        self.happened: list[str] = []
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        self.happened.append("receive")
        return self.messages.pop(0) if self.messages else {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        self.happened.append(message["type"])
        self.sent.append(message)


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_a_long_content_length_is_answered_before_the_body_is_read() -> None:
    wire = UpstreamTransport(b"x" * 10, length=LIMIT + 1)
    await BodyLimit(read_all, limit=LIMIT)(wire.scope, wire.receive, wire.send)
    assert wire.happened[:2] == ["http.response.start", "http.response.body"]
    assert wire.sent[0]["status"] == 413
    assert json.loads(wire.sent[1]["body"])["type"] == "/problems/content-too-large"
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_the_application_never_sees_more_than_the_limit() -> None:
    seen = 0

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal seen
        while True:
            seen += len((await receive())["body"])

    wire = UpstreamTransport(*[b"x" * 300] * 100)
    await BodyLimit(count, limit=LIMIT)(wire.scope, wire.receive, wire.send)
    assert seen == 900
    assert wire.sent[0]["status"] == 413


async def test_what_the_application_makes_of_it_is_not_sent() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_all(scope, receive, send)
        except Exception:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

    wire = UpstreamTransport(*[b"x" * 300] * 5)
    await BodyLimit(stubborn, limit=LIMIT)(wire.scope, wire.receive, wire.send)
    assert [message["status"] for message in wire.sent if "status" in message] == [413]


async def test_other_faults_pass_through() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a fault of the application")

    wire = UpstreamTransport(b"x")
    with pytest.raises(RuntimeError, match="a fault"):
        await BodyLimit(fail, limit=LIMIT)(wire.scope, wire.receive, wire.send)


async def test_draining_is_bounded() -> None:
    wire = UpstreamTransport(*[b"x" * 1024 * 1024] * 100, length=10**9)
    await BodyLimit(read_all, limit=LIMIT)(wire.scope, wire.receive, wire.send)
    assert 16 <= wire.happened.count("receive") <= 18


async def test_other_protocols_pass() -> None:
    reached = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    wire = UpstreamTransport()
    await BodyLimit(app, limit=1)({"type": "lifespan"}, wire.receive, wire.send)
    assert reached == ["lifespan"]


@pytest.mark.parametrize("length", ["abc", "-1", "²"])
async def test_lengths_that_are_no_numbers_do_not_decide(length: str) -> None:
    wire = UpstreamTransport(b"x")
    wire.scope["headers"] = [(b"content-length", length.encode("latin-1"))]
    await BodyLimit(read_all, limit=LIMIT)(wire.scope, wire.receive, wire.send)
    assert wire.sent[0]["status"] == 200


@asynccontextmanager
async def serving(http: str) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(application(), port=0, http=http, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_over_real_sockets_the_client_gets_the_answer(http: str) -> None:
    async with serving(http) as url, httpx.AsyncClient(base_url=url) as client:
        for content in (b"x" * 5_000_000, chunks(50, 20_000), b"x" * (LIMIT + 1)):
            require_problem(await client.post("/raw", content=content), 413)
        assert (await client.post("/raw", content=b"x")).json() == {"size": 1}


async def test_forms_are_parsed(client: httpx.AsyncClient) -> None:
    response = await client.post("/files", files=[("file", b"abc"), ("file", b"de")], data={"note": "hello"})
    assert response.json() == {"sizes": [3, 2], "note": "hello"}


@pytest.mark.parametrize("multipart", [False, True])
async def test_what_is_sent_empty_counts_as_left_out(client: httpx.AsyncClient, multipart: bool) -> None:
    data = {"left": "", "kept": " ", "also": "0"}
    files = {"none": ("", b""), "empty": ("empty.npy", b""), "unnamed": ("", b"1")}
    answer = await client.post("/fields", data=data, files=files if multipart else None)
    assert set(answer.json()) == {"kept", "also"} | ({"empty", "unnamed"} if multipart else set())


async def test_other_bodies_reach_the_route(client: httpx.AsyncClient) -> None:
    assert (await client.post("/json", json={"a": 1})).json() == {"a": 1}
    require_problem(await client.post("/json", content=b"{", headers={"content-type": "application/json"}), 400)


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary here"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disp\x00osition: x\r\n\r\n--b--"),
        ("multipart/form-data; boundary=" + "b" * 300, b"--b"),
    ],
)
async def test_malformed_forms_are_named(client: httpx.AsyncClient, content_type: str, content: bytes) -> None:
    response = await client.post("/files", content=content, headers={"content-type": content_type})
    assert "multipart body cannot be read" in require_problem(response, 400)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_unfinished_form_lacks_its_file(client: httpx.AsyncClient) -> None:
    content = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhalf'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = await client.post("/files", content=content, headers=headers)
    assert response.status_code in {400, 422}


async def test_too_many_parts_are_refused() -> None:
    names = [f'--b\r\nContent-Disposition: form-data; name="file"; filename="{i}"\r\n\r\nx\r\n' for i in range(3)]
    body = ("".join(names) + "--b--\r\n").encode()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}
    with pytest.raises(BadRequest, match="Maximum number of files is 2"):
        await read_form(Request(scope, receive), FormLimits(files=2))
    form = await read_form(Request(scope, receive), FormLimits(files=3))
    assert len(form.getlist("file")) == 3
    await form.close()


async def test_a_client_that_leaves_is_a_bad_request() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}
    with pytest.raises(BadRequest, match="broke off"):
        await read_form(Request(scope, receive))


async def test_empty_files_are_named() -> None:
    with pytest.raises(UnprocessableContent, match="empty") as caught:
        await read_upload(upload(b""), pointer="/body/reference")
    assert caught.value.errors[0].pointer == "/body/reference"


async def test_large_files_are_refused() -> None:
    assert await read_upload(upload(b"x" * 10), limit=10) == b"x" * 10
    with pytest.raises(ContentTooLarge) as caught:
        await read_upload(upload(b"x" * 11), limit=10)
    assert caught.value.errors[0].pointer == "/body/file"


async def test_uploads_are_known_by_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        received = await receive_upload(upload(PNG), accepted=[MediaType.PNG])
    assert (received.data, received.digest, received.media_type) == (PNG, digest_of(PNG), MediaType.PNG)
    record = vars(caplog.records[-1])
    assert (record["digest"], record["media_type"], record["size"]) == (digest_of(PNG), "image/png", len(PNG))
    assert "Muster" not in repr(record) + repr(received)


async def test_a_pdf_named_png_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType, match="This is a PDF document, not PNG"):
        await receive_upload(upload(b"%PDF-1.7"), accepted=[MediaType.PNG])


async def test_a_limit_may_depend_on_the_path() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        await Response(str(size))(scope, receive, send)

    limited = BodyLimit(app, lambda path: 10 if path == "/wide" else 5)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://facet.test") as client:
        statuses = [(await client.post(path, content=b"x" * 8)).status_code for path in ("/wide", "/narrow")]
        assert statuses == [200, 413]
        assert (await client.post("/wide", content=b"x" * 11)).status_code == 413
