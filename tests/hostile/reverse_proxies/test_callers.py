"""Behind nginx and Caddy the gateway knows who calls, by which name, below which path, and over TLS."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hostile import messages
from tests.hostile.client import Caller
from tests.hostile.fleet import Fleet
from tests.hostile.framing_cases import VALUE
from tests.hostile.jobs import waiting_job
from tests.hostile.reverse_proxies.programs import PROXIES, TLS
from tests.hostile.reverse_proxies.requirements import require_single

_ELSEWHERE = "127.0.0.9"
"""A caller that is no trusted proxy."""


_CLAIMS = (
    b"X-Forwarded-For: 10.1.2.3", b"x-forwarded-for: 10.1.2.3, 127.0.0.1", b"X_Forwarded_For: 10.1.2.3",
    b"X-Forwarded-Proto: https", b"X-Forwarded-Prefix: /evil", b"X-Forwarded-Host: evil.example",
    b"X-Real-IP: 10.1.2.3", b"Forwarded: for=10.1.2.3;proto=https",
)  # fmt: skip


@pytest.mark.parametrize(
    "nominated", [None, b"x-forwarded-for, x-forwarded-proto, x-forwarded-prefix, forwarded, host"]
)
def test_a_caller_does_not_say_who_it_is(fleet: Fleet, nominated: bytes | None) -> None:
    nonce = fleet.nonce()
    fields = [*_CLAIMS, *messages.FORGED, *([b"Connection: " + nominated] if nominated else [])]
    with Caller(fleet.port, address=_ELSEWHERE) as caller:
        caller.send(fleet.infer(nonce, fields=fields))
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200
    request = require_single(fleet, nonce)
    assert request.values("x-forwarded-for") == [_ELSEWHERE]
    assert request.values("x-forwarded-proto") == ["http"]
    assert request.values("x-forwarded-host") == ["localhost"]
    assert request.values("forwarded") == [f'for="{_ELSEWHERE}";proto=http;host="localhost"']
    assert request.values("x-forwarded-prefix") == []
    assert "evil" not in answer.body.decode()


def test_the_port_of_the_host_is_kept(fleet: Fleet) -> None:
    """A page of the gateway's own may change things only where Host and Origin agree, port included."""
    nonce = fleet.nonce()
    for origin, status in ((b"http://localhost:8080", 200), (b"http://localhost", 403)):
        fields = [*fleet.fields(nonce), messages.JSON_TYPE, b"Origin: " + origin]
        body = messages.infer_json(nonce, VALUE)
        fields.append(b"Content-Length: %d" % len(body))
        answer = fleet.first_answer(messages.head("POST", messages.INFER, fields, host=b"localhost:8080") + body)
        assert answer.status == status


def test_names_of_others_are_not_answered(fleet: Fleet) -> None:
    answer = fleet.first_answer(messages.head("GET", "/v1/models", [], host=b"evil.example"))
    assert answer.status == 421


def test_below_a_path(prefixed: Fleet) -> None:
    for _ in range(2):
        asyncio.run(waiting_job(prefixed.redis_url))
    claim = b"X-Forwarded-Prefix: /evil"
    for path in ("/facet", ""):
        answer = prefixed.first_answer(messages.head("GET", f"{path}/v1/jobs?limit=1", [claim]))
        assert answer.status == 200
        assert answer.fields["link"].startswith(f"<{path}/v1/jobs?")


def _certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", f"{folder}/privkey.pem", "-out", f"{folder}/fullchain.pem"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *files, *names, "-days", "2"], check=True, capture_output=True)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="needs openssl and curl")
def test_with_a_certificate(proxy: str, gateway: Fleet, tmp_path: Path, version: str) -> None:
    _certificate(tmp_path)
    with gateway.guarded(), PROXIES[proxy](tmp_path, gateway.port, TLS) as port:
        nonce = gateway.nonce()
        asked = tmp_path / "asked.json"
        asked.write_bytes(messages.infer_json(nonce, VALUE))
        command = [
            "curl",
            "-sS",
            version,
            "--cacert",
            f"{tmp_path}/fullchain.pem",
            "-w",
            "%{http_version} %{http_code}",
        ]
        fields = ["-H", "Content-Type: application/json", "-o", "/dev/null", "--data-binary", f"@{asked}"]
        address = f"https://localhost:{port}{messages.INFER}"
        said = subprocess.run([*command, *fields, address], check=True, capture_output=True, text=True, timeout=30)
        assert said.stdout == ("2 200" if version == "--http2" else "1.1 200")
        assert require_single(gateway, nonce).values("x-forwarded-proto") == ["https"]
