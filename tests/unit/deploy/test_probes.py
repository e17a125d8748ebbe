from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.local.ports import free_ports
from deploy.probes import http_probe, redis_probe

ANSWERS = {
    "/well": (200, b'{"status": "ready"}'),
    "/unready": (503, b'{"status": "not ready", "checks": {"redis": "refused", "models": "ok"}}'),
    "/odd": (500, b"<html>"),
    "/empty": (204, b""),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


@pytest.mark.parametrize(
    ("path", "fault"),
    [("/well", None), ("/unready", "answers 503: redis: refused"), ("/odd", "answers 500"), ("/empty", "answers 204")],
)
def test_answers_are_told_apart(server: str, path: str, fault: str | None) -> None:
    assert http_probe(server + path)() == fault


def test_a_proxy_of_the_environment_is_not_asked(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert http_probe(server + "/well")() is None


def test_silence_is_a_fault_and_no_exception() -> None:
    (port,) = free_ports(1)
    assert http_probe(f"http://127.0.0.1:{port}/")() == "does not answer yet"
    assert "refused" in (redis_probe(f"redis://127.0.0.1:{port}/0")() or "")


def test_an_http_server_is_no_redis(server: str) -> None:
    assert redis_probe(server.replace("http", "redis") + "/0")() is not None
