"""A captioner of somebody else, behind HTTP."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.caption_attack.pictures.distances import decode_png

Answer = tuple[int, dict[str, str], bytes]


def said(caption: Any) -> Answer:
    return 200, {}, orjson.dumps({"choices": [{"message": {"content": caption}}]})


class RemoteCaptioner:
    """A server of somebody else: notes what it is sent, and answers by a function of the picture."""

    def __init__(self, answer: Callable[[NDArray[np.uint8], int], Answer]) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.at_s: list[float] = []
        self.under_way = self.most_under_way = 0
        self._answer, self._lock = answer, threading.Lock()

    def take(self, headers: dict[str, str], body: bytes) -> Answer:
        with self._lock:
            self.at_s.append(time.monotonic())
            self.requests.append((headers, body))
            count = len(self.requests)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        answer = self._answer(self.picture(count - 1), count)
        with self._lock:
            self.under_way -= 1
        return answer

    def picture(self, number: int) -> NDArray[np.uint8]:
        headers, body = self.requests[number]
        if headers["content-type"] == "application/json":
            text = orjson.loads(body)["inputs"][0]["image"]
            return decode_png(base64.b64decode(text.removeprefix("data:image/png;base64,")))
        parts = message_from_bytes(b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n" + body)
        contents = {part.get_param("name", header="content-disposition"): part for part in parts.walk()}
        content = contents["photo"].get_payload(decode=True)
        assert isinstance(content, bytes)
        return decode_png(content)


@contextmanager
def serving(captioner: RemoteCaptioner) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, content = captioner.take(headers, body)
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # who asks need not wait for the whole answer
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/captions?model=theirs"
        finally:
            server.shutdown()
            thread.join()
